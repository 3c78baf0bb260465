/*
 * The Outboard device SDK: a PCI function outside the VMM, in C, with this one header.
 *
 * A plug-in is a shared library that defines one or more struct ob_class and names them with
 * OB_PLUGIN(). It links to nothing: the daemon hands every instance a table of functions
 * (struct ob_api), which the inline functions below call. Only libc is needed.
 *
 * ABI. OB_ABI changes only when an old plug-in could not run any more. Within one ABI, structs
 * start with their own size and are appended to, never changed: a plug-in built against an older
 * header gives shorter structs, what is missing counts as 0. The function table grows at its end
 * likewise; OB_HAS() tells whether the daemon at hand has a function that was added after ABI 1.0.
 *
 * Threads. An instance belongs to one loop, a thread of the daemon. Every callback runs there, one
 * at a time, on a full-size stack, and must return soon: whoever blocks there stops all guests of
 * that loop. Every function below is for callbacks (that thread) only, but for those marked "any
 * thread": ob_post(), ob_log(), ob_now_ns(), ob_dma_is_revoked(). A device with threads of its own
 * lets them compute and brings results home with ob_post().
 *
 * Errors. Functions that return int give 0 (or a count) or a negative errno, listed with each.
 * What a guest does wrong is no error of the device: answer as hardware would, perhaps with a line
 * of ob_log(dev, OB_LOG_GUEST, ...), whose rate is limited.
 *
 * Ownership. Pointers given to a function are borrowed for the call unless it says otherwise.
 * Everything made with a device (timers, mappings, doorbells, posts) ends with it at the latest.
 */
#ifndef OUTBOARD_H
#define OUTBOARD_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OB_ABI   1
#define OB_MAGIC 0x4f7574626f617264ull /* first field of struct ob_plugin */

struct ob_api;
struct ob_call;
struct ob_doorbell;
struct ob_mapping;
struct ob_state;
struct ob_timer;

/* One instance. Made by the daemon; the fields are read-only for the device. */
struct ob_dev {
	const struct ob_api *api;
	void *state;      /* ob_class.state_size bytes, zeroed before open() */
	const char *name; /* for messages: the id the user gave, or the class name */
};

/* ---- Properties: what a user may set, "--device edu,dma-mask=0xffffffff" --------------------- */

enum ob_prop_type {
	OB_PROP_BOOL = 1, /* on|off|yes|no|true|false */
	OB_PROP_UINT,     /* decimal or 0x..., from min to max */
	OB_PROP_INT,      /* the same with a sign; min, max and def are cast to int64_t */
	OB_PROP_SIZE,     /* bytes, with K M G T, from min to max */
	OB_PROP_TEXT,     /* any text; default is def_text (may be NULL) */
	OB_PROP_ENUM,     /* one of names; the value is its index; default is def */
};

enum ob_prop_flags {
	OB_PROP_REQUIRED = 1, /* there is no default: the user must give it */
};

/*
 * Wrong values never reach the device: they are refused with the property's name and the values it
 * takes. Tables of these are walked with the size of their first entry, the same in every entry.
 */
struct ob_prop {
	uint32_t size;     /* sizeof(struct ob_prop) */
	uint32_t type;     /* enum ob_prop_type */
	const char *name;  /* a-z, 0-9 and '-' */
	const char *help;  /* one line; may be NULL */
	uint64_t min, max; /* UINT, INT, SIZE; both 0: anything */
	uint64_t def;
	const char *def_text;
	const char *const *names; /* ENUM: ends with NULL */
	uint32_t flags;           /* enum ob_prop_flags */
};

/* ---- Identity and BARs ----------------------------------------------------------------------- */

struct ob_identity { /* as in configuration space; never grows */
	uint16_t vendor, device;
	uint16_t subsystem_vendor, subsystem; /* both 0: the same as vendor and device */
	uint32_t class_code; /* 24 bits: base class, subclass, programming interface */
	uint8_t revision;
	uint8_t intx_pin; /* 0: no INTx, 1: INTA# ... 4: INTD# */
	uint16_t reserved;
};

enum ob_bar_flags {
	OB_BAR_IO = 1,       /* I/O ports; else memory */
	OB_BAR_64 = 2,       /* memory: a 64-bit address; the next index is taken too */
	OB_BAR_PREFETCH = 4, /* memory: reads have no side effects */
};

enum { OB_BAR_ROM = 6 }; /* index of the expansion ROM: memory, registers are read only */

/* Part of a BAR that is plain memory, which guest and device share. Whole pages (4096). */
struct ob_area {
	uint64_t off, len;
};

struct ob_bar {
	uint32_t size;  /* sizeof(struct ob_bar) */
	uint32_t index; /* 0 to 5, OB_BAR_ROM */
	uint32_t flags; /* enum ob_bar_flags */
	uint32_t n_areas;
	uint64_t len; /* a power of two; memory: 16 or more (ROM 2048), I/O: 4 to 256 */
	/*
	 * Memory shared with the guest: at most 16 areas, in order, apart. Accesses there never
	 * call read() or write(); ob_bar_memory() is where the device sees them. May be NULL.
	 */
	const struct ob_area *areas;
	/*
	 * One register access: width is 1, 2, 4 or 8, off is a multiple of it and inside the BAR.
	 * The guest's own width arrives unchanged; accesses no bus would make (3 bytes, not
	 * aligned) come as several. Values are the number a little-endian guest would see. Returned
	 * bits beyond width are ignored. NULL: reads as all ones; writes vanish. Both may use
	 * ob_defer().
	 */
	uint64_t (*read)(struct ob_dev *dev, uint64_t off, unsigned width);
	void (*write)(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width);
};

/* ---- The class: one kind of device ----------------------------------------------------------- */

enum ob_reset {
	OB_RESET_BUS = 1,  /* the machine or its bus */
	OB_RESET_FUNCTION, /* this function alone, by its driver (PCIe function level reset) */
};

struct ob_class {
	uint32_t size;       /* sizeof(struct ob_class) */
	uint32_t state_size; /* bytes at ob_dev.state */
	const char *name;    /* "edu"; a-z, 0-9 and '-' */
	const char *help;    /* one line; may be NULL */
	struct ob_identity id;
	const struct ob_prop *props; /* may be NULL */
	uint32_t n_props;
	uint32_t state_version; /* of what save() writes; restore() gets equal or lower ones only */
	/*
	 * Required. Declares BARs and capabilities and makes what the device needs; properties are
	 * set. 0, or -errno after ob_error() said why: close() is then called too.
	 */
	int (*open)(struct ob_dev *dev);
	/*
	 * Optional. The end, also of an instance whose open() failed. Transfers have ended with
	 * -ECANCELED and mappings are revoked before it. Threads of the device have ended when it
	 * returns. Posts that have not run by then never do: what their arg owns is freed here.
	 */
	void (*close)(struct ob_dev *dev);
	/*
	 * Optional. Back to power-on. Before it the core has lowered INTx, forgotten pending MSIs,
	 * ended asynchronous DMA with -ECANCELED and revoked mappings; timers go on unless
	 * cancelled here. May use ob_defer(): the guest then waits, a second at most.
	 */
	void (*reset)(struct ob_dev *dev, enum ob_reset kind);
	/*
	 * Optional. The machine stops (to be saved, or moved): start no DMA and raise nothing from
	 * the return on until start(). Timers stand still by themselves. May use ob_defer().
	 */
	void (*stop)(struct ob_dev *dev);
	void (*start)(struct ob_dev *dev);
	/*
	 * Optional, but both or none; called while stopped. save() puts fields, restore() gets the
	 * same ones (version is that of the writer) and returns 0 or -errno: the device is reset
	 * then. Configuration space, shared memory and interrupt state are the core's and not put
	 * here.
	 */
	int (*save)(struct ob_dev *dev, struct ob_state *out);
	int (*restore)(struct ob_dev *dev, struct ob_state *in, uint32_t version);
	/*
	 * Optional. m was revoked: the guest took that memory away, or a reset came. Stop using it
	 * and call ob_dma_unmap(), here or soon: the guest waits for that, a second at most.
	 * Without this callback mappings must be short-lived (released in the callback that made
	 * them).
	 */
	void (*revoked)(struct ob_dev *dev, struct ob_mapping *m);
	/*
	 * Optional. A guest driver enabled or disabled bus mastering, INTx, MSI or MSI-X, or a VMM
	 * came or went. ob_is_attached(), ob_msi_mode() and ob_can_dma() tell how things stand.
	 */
	void (*changed)(struct ob_dev *dev);
};

struct ob_plugin {
	uint64_t magic;                        /* OB_MAGIC */
	uint32_t size;                         /* sizeof(struct ob_plugin) */
	uint32_t abi;                          /* OB_ABI */
	const struct ob_class *const *classes; /* ends with NULL */
};

#if defined(__GNUC__)
#define OB_EXPORT            __attribute__((visibility("default")))
#define OB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define OB_EXPORT
#define OB_PRINTF(fmt, args)
#endif

/*
 * Once in a plug-in, at file level: OB_PLUGIN(&my_class) or OB_PLUGIN(&one, &two). It is the only
 * symbol a plug-in has to export.
 */
#ifdef __cplusplus
#define OB_PLUGIN_LINKAGE extern "C"
#else
#define OB_PLUGIN_LINKAGE extern
#endif
#define OB_PLUGIN(...)                                                                            \
	static const struct ob_class *const ob_plugin_classes[] = {__VA_ARGS__, NULL};            \
	OB_PLUGIN_LINKAGE OB_EXPORT const struct ob_plugin ob_plugin;                             \
	const struct ob_plugin ob_plugin = {OB_MAGIC, (uint32_t)sizeof(struct ob_plugin), OB_ABI, \
					    ob_plugin_classes}

/* ---- Guest memory: shapes -------------------------------------------------------------------- */

enum ob_dma_flags {
	OB_DMA_READ = 1,  /* guest memory to device */
	OB_DMA_WRITE = 2, /* device to guest memory */
};

struct ob_sg { /* a range of guest addresses */
	uint64_t addr, len;
};

enum { OB_MAP_SG_MAX = 4096 }; /* ranges of one ob_dma_map_sg() */

struct ob_piece { /* a range of memory of this process */
	void *base;
	size_t len;
};

/*
 * An asynchronous transfer between buf and guest memory. The struct, sg and buf are the core's from
 * ob_dma_start() until done(), which runs exactly once, never inside ob_dma_start().
 */
struct ob_dma {
	uint32_t size;  /* sizeof(struct ob_dma) */
	uint32_t flags; /* OB_DMA_READ or OB_DMA_WRITE */
	const struct ob_sg *sg;
	uint32_t n_sg;
	uint32_t reserved;
	void *buf; /* as long as the ranges of sg together */
	/*
	 * res: 0; -EFAULT: part of it is no guest memory, or was taken away meanwhile; -EPERM: the
	 * guest memory is read only; -EACCES: the driver has not enabled bus mastering; -ECANCELED:
	 * a reset came, or the VMM went; -ENOTCONN: there is none; -EIO: the VMM refused. A failed
	 * transfer may have moved a part.
	 */
	void (*done)(struct ob_dev *dev, struct ob_dma *dma, int res);
	void *arg;  /* the device's own */
	void *priv; /* the core's own, set by ob_dma_start() */
};

enum ob_log_level {
	OB_LOG_ERROR,
	OB_LOG_WARN,
	OB_LOG_INFO,
	OB_LOG_DEBUG,
	OB_LOG_GUEST, /* a warning about what a guest did: at most 10 lines each 5 seconds */
};

enum ob_msi_state {
	OB_MSI_OFF,
	OB_MSI_ON,
	OB_MSIX_ON,
};

enum ob_msi_flags {
	OB_MSI_MASKABLE = 1, /* per-vector mask and pending bits */
};

enum ob_doorbell_flags {
	OB_DOORBELL_MATCH = 1, /* rings only for one value; others are plain writes */
};

/* ---- The daemon's functions; call them by the inline ones below ------------------------------ */

struct ob_api {
	uint32_t size;
	uint32_t abi;
	int (*error)(struct ob_dev *dev, int res, const char *text);
	void (*log)(struct ob_dev *dev, enum ob_log_level level, const char *text);
	uint64_t (*now_ns)(struct ob_dev *dev);
	uint64_t (*prop_u64)(struct ob_dev *dev, const char *name);
	const char *(*prop_text)(struct ob_dev *dev, const char *name);
	int (*set_identity)(struct ob_dev *dev, const struct ob_identity *id);
	int (*add_bar)(struct ob_dev *dev, const struct ob_bar *bar);
	void *(*bar_memory)(struct ob_dev *dev, unsigned index);
	int (*add_msi)(struct ob_dev *dev, unsigned vectors, unsigned flags);
	int (*add_msix)(struct ob_dev *dev, unsigned vectors, unsigned table_bar,
			uint64_t table_off, unsigned pba_bar, uint64_t pba_off);
	int (*add_pcie)(struct ob_dev *dev);
	int (*add_pm)(struct ob_dev *dev);
	int (*add_vendor)(struct ob_dev *dev, const void *body, const void *writable, size_t len,
			  void (*written)(struct ob_dev *dev, int cap, size_t off, size_t len));
	int (*vendor_read)(struct ob_dev *dev, int cap, size_t off, void *buf, size_t len);
	int (*vendor_write)(struct ob_dev *dev, int cap, size_t off, const void *buf, size_t len);
	int (*is_attached)(struct ob_dev *dev);
	int (*can_dma)(struct ob_dev *dev);
	void (*intx)(struct ob_dev *dev, int level);
	enum ob_msi_state (*msi_mode)(struct ob_dev *dev);
	int (*msi_send)(struct ob_dev *dev, unsigned vector);
	int (*dma_sync)(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg, unsigned n_sg,
			void *buf);
	int (*dma_start)(struct ob_dev *dev, struct ob_dma *dma);
	int (*dma_map)(struct ob_dev *dev, unsigned flags, const struct ob_sg *range,
		       struct ob_piece *pieces, unsigned max, struct ob_mapping **out);
	void (*dma_unmap)(struct ob_dev *dev, struct ob_mapping *m);
	int (*dma_is_revoked)(const struct ob_mapping *m);
	struct ob_timer *(*timer_new)(struct ob_dev *dev,
				      void (*fire)(struct ob_dev *dev, void *arg), void *arg);
	void (*timer_set)(struct ob_timer *t, uint64_t delay_ns);
	void (*timer_cancel)(struct ob_timer *t);
	int (*timer_left_ns)(const struct ob_timer *t, uint64_t *left_ns);
	void (*timer_free)(struct ob_timer *t);
	int (*post)(struct ob_dev *dev, void (*fn)(struct ob_dev *dev, void *arg), void *arg);
	struct ob_doorbell *(*add_doorbell)(struct ob_dev *dev, unsigned bar, uint64_t off,
					    unsigned width, unsigned flags, uint64_t match,
					    void (*ring)(struct ob_dev *dev, void *arg), void *arg);
	struct ob_call *(*defer)(struct ob_dev *dev);
	void (*finish)(struct ob_call *call, uint64_t value);
	int (*put)(struct ob_state *out, const char *name, const void *data, size_t len);
	int (*get)(struct ob_state *in, const char *name, void *data, size_t len);
	int (*get_len)(struct ob_state *in, const char *name, size_t *len);
	int (*dma_map_sg)(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg, unsigned n_sg,
			  struct ob_piece *pieces, unsigned max, struct ob_mapping **out);
	int (*add_config)(struct ob_dev *dev, unsigned off, const void *initial,
			  const void *writable, size_t len);
};

/* Whether the daemon has a function of struct ob_api that this header knows. Any thread. */
#define OB_HAS(dev, fn) \
	((dev)->api->size >= offsetof(struct ob_api, fn) + sizeof((dev)->api->fn) && (dev)->api->fn)

/* ---- Errors, log, time ----------------------------------------------------------------------- */

/*
 * Why open() or restore() fails: one phrase, no newline; shown to the user behind the device's
 * name. Returns res (a negative errno), so that "return ob_error(dev, -EINVAL, ...)" is a whole
 * error path.
 */
static inline int ob_error(struct ob_dev *dev, int res, const char *fmt, ...) OB_PRINTF(3, 4);
static inline int ob_error(struct ob_dev *dev, int res, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return dev->api->error(dev, res, text);
}

/* One line of the daemon's log, without newline. Any thread. */
static inline void ob_log(struct ob_dev *dev, enum ob_log_level level, const char *fmt, ...)
	OB_PRINTF(3, 4);
static inline void ob_log(struct ob_dev *dev, enum ob_log_level level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dev->api->log(dev, level, text);
}

/* A clock that never goes back; it does not know of stopped machines. Any thread. */
static inline uint64_t ob_now_ns(struct ob_dev *dev)
{
	return dev->api->now_ns(dev);
}

/* ---- Properties ------------------------------------------------------------------------------ */

/* Of every type but TEXT (INT: cast to int64_t); 0 for a name the class does not have. */
static inline uint64_t ob_prop_number(struct ob_dev *dev, const char *name)
{
	return dev->api->prop_u64(dev, name);
}

/* Of TEXT and ENUM (the name chosen); valid until close() returned; NULL: not set. */
static inline const char *ob_prop_text(struct ob_dev *dev, const char *name)
{
	return dev->api->prop_text(dev, name);
}

/* ---- Declarations: in open() only (-EBUSY elsewhere) ------------------------------------------
 */
/*
 * Each returns -EINVAL for what PCI does not know. The first such error, with its reason, makes
 * open() fail whatever it returns, so a device need not look at each.
 */

/* In place of ob_class.id. */
static inline int ob_set_identity(struct ob_dev *dev, const struct ob_identity *id)
{
	return dev->api->set_identity(dev, id);
}

/* 0; the struct and its areas are copied. -EEXIST: that index is taken. -ENOMEM: shared memory. */
static inline int ob_add_bar(struct ob_dev *dev, const struct ob_bar *bar)
{
	return dev->api->add_bar(dev, bar);
}

/*
 * The bytes behind the areas of a BAR that has some: base + ob_area.off is an area's first byte,
 * between them lies nothing. From ob_add_bar() until close() returned; NULL: that BAR has no areas.
 * The guest changes them at any moment: copy, then check, then use. Any thread may use the memory.
 */
static inline void *ob_bar_memory(struct ob_dev *dev, unsigned index)
{
	return dev->api->bar_memory(dev, index);
}

/* vectors: 1, 2, 4 ... 32; flags: enum ob_msi_flags. Messages have 64-bit addresses. */
static inline int ob_add_msi(struct ob_dev *dev, unsigned vectors, unsigned flags)
{
	return dev->api->add_msi(dev, vectors, flags);
}

/*
 * vectors: 1 to 2048. The table (16 bytes a vector) and the pending bits (8 bytes each 64 vectors)
 * lie at multiples of 8 in memory BARs, where they hide registers; not in areas. A BAR that open()
 * does not declare is made by the core.
 */
static inline int ob_add_msix(struct ob_dev *dev, unsigned vectors, unsigned table_bar,
			      uint64_t table_off, unsigned pba_bar, uint64_t pba_off)
{
	return dev->api->add_msix(dev, vectors, table_bar, table_off, pba_bar, pba_off);
}

/* PCI Express endpoint: 4096 bytes of configuration space, function level reset. */
static inline int ob_add_pcie(struct ob_dev *dev)
{
	return dev->api->add_pcie(dev);
}

/* Power management, states D0 and D3hot (in which the function sends no DMA and no interrupts). */
static inline int ob_add_pm(struct ob_dev *dev)
{
	return dev->api->add_pm(dev);
}

/*
 * A vendor-specific capability: body (len bytes, 1 to 64) follows the three bytes of its header.
 * writable has a 1 for each bit the guest may change (NULL: none), written() is called after it did
 * (NULL: nobody cares); off and len are within the body. Both arrays are copied. Returns the
 * capability's number for the two below; -ENOSPC: configuration space is full.
 */
static inline int ob_add_vendor(struct ob_dev *dev, const void *body, const void *writable,
				size_t len,
				void (*written)(struct ob_dev *dev, int cap, size_t off,
						size_t len))
{
	return dev->api->add_vendor(dev, body, writable, len, written);
}

/* 0; -EINVAL: no such capability, or outside its body. Not only in open(). */
static inline int ob_vendor_read(struct ob_dev *dev, int cap, size_t off, void *buf, size_t len)
{
	return dev->api->vendor_read(dev, cap, off, buf, len);
}

/* As ob_vendor_read(); the guest's mask does not matter. A reset brings back what was declared. */
static inline int ob_vendor_write(struct ob_dev *dev, int cap, size_t off, const void *buf,
				  size_t len)
{
	return dev->api->vendor_write(dev, cap, off, buf, len);
}

/*
 * Plain registers of the device's own at a fixed place in configuration space, off to off + len
 * within 0x40 to 0xff: initial is what they hold after a reset, writable has a 1 for each bit the
 * guest may change (NULL: none); both arrays are copied. Capabilities are put around them, so
 * declare these first. The core resets and saves them. -EEXIST: something is there already.
 * -ENOSYS: the daemon is too old, OB_HAS(dev, add_config) is 0.
 */
static inline int ob_add_config(struct ob_dev *dev, unsigned off, const void *initial,
				const void *writable, size_t len)
{
	if (!OB_HAS(dev, add_config))
		return -ENOSYS;
	return dev->api->add_config(dev, off, initial, writable, len);
}

/*
 * A register whose writes ring: where the VMM can, it rings without waiting for us (ioeventfd),
 * many writes may then become one ring. width 1, 2, 4, 8, or 0: any; with OB_DOORBELL_MATCH (width
 * not 0) only writes of match. ring() replaces ob_bar.write for them and does not learn the value.
 * At most 256 a device, not in areas. NULL: refused, as with the other declarations.
 */
static inline struct ob_doorbell *ob_add_doorbell(struct ob_dev *dev, unsigned bar, uint64_t off,
						  unsigned width, unsigned flags, uint64_t match,
						  void (*ring)(struct ob_dev *dev, void *arg),
						  void *arg)
{
	return dev->api->add_doorbell(dev, bar, off, width, flags, match, ring, arg);
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

/* Whether a VMM is there. Without one everything below is legal and reaches nobody. */
static inline int ob_is_attached(struct ob_dev *dev)
{
	return dev->api->is_attached(dev);
}

/*
 * The level of the INTx line: high until lowered, any number of calls. The core takes care of the
 * driver's disable bit and of the status bit. Nothing happens without an intx_pin.
 */
static inline void ob_irq_raise(struct ob_dev *dev)
{
	dev->api->intx(dev, 1);
}

/* See ob_irq_raise(). */
static inline void ob_irq_lower(struct ob_dev *dev)
{
	dev->api->intx(dev, 0);
}

/* What the driver enabled: where it is OB_MSI_OFF, INTx is to be used. */
static inline enum ob_msi_state ob_msi_mode(struct ob_dev *dev)
{
	return dev->api->msi_mode(dev);
}

/*
 * Sends a message by MSI-X or MSI, whichever is enabled. A masked one becomes pending and goes when
 * unmasked. A vector beyond those the driver enabled for MSI is folded into them, as PCI has it. 0;
 * -ENOTCONN: neither is enabled, or no VMM is there; -EINVAL: the device has no such vector;
 * -EACCES: the driver has not enabled bus mastering, or the function is in D3.
 */
static inline int ob_msi_send(struct ob_dev *dev, unsigned vector)
{
	return dev->api->msi_send(dev, vector);
}

/* ---- Guest memory ---------------------------------------------------------------------------- */
/*
 * Addresses are what the driver programs (bus addresses). Common errors: -EFAULT no guest memory
 * there, or only in part; -EPERM read-only memory; -EACCES bus mastering is not enabled (or D3);
 * -ENOTCONN no VMM; -EINVAL flags or lengths make no sense. On error nothing was moved.
 * -EWOULDBLOCK: the VMM keeps that memory to itself (its RAM is not shared), only ob_dma_start()
 * reaches it.
 */

/* Whether the driver has enabled bus mastering, the function is awake and a VMM is there. */
static inline int ob_can_dma(struct ob_dev *dev)
{
	return dev->api->can_dma(dev);
}

/* At once, by copying; for little data (at most 1 MiB a call, else -E2BIG). */
static inline int ob_dma_read(struct ob_dev *dev, uint64_t addr, void *buf, size_t len)
{
	struct ob_sg sg;

	sg.addr = addr;
	sg.len = len;
	return dev->api->dma_sync(dev, OB_DMA_READ, &sg, 1, buf);
}

/* As ob_dma_read(), the other way. */
static inline int ob_dma_write(struct ob_dev *dev, uint64_t addr, const void *buf, size_t len)
{
	struct ob_sg sg;

	sg.addr = addr;
	sg.len = len;
	return dev->api->dma_sync(dev, OB_DMA_WRITE, &sg, 1, (void *)(uintptr_t)buf);
}

/* The same for a scatter list (at most 1024 ranges); buf is as long as the ranges together. */
static inline int ob_dma_read_sg(struct ob_dev *dev, const struct ob_sg *sg, unsigned n_sg,
				 void *buf)
{
	return dev->api->dma_sync(dev, OB_DMA_READ, sg, n_sg, buf);
}

/* As ob_dma_read_sg(), the other way. */
static inline int ob_dma_write_sg(struct ob_dev *dev, const struct ob_sg *sg, unsigned n_sg,
				  const void *buf)
{
	return dev->api->dma_sync(dev, OB_DMA_WRITE, sg, n_sg, (void *)(uintptr_t)buf);
}

/*
 * Any amount, all memory, without blocking the loop: see struct ob_dma. 0: done() will run;
 * -EINVAL: the struct makes no sense, done() will not run. Every other failure comes by done(). It
 * is also how to copy after the register write that asked for it was answered.
 */
static inline int ob_dma_start(struct ob_dev *dev, struct ob_dma *dma)
{
	return dev->api->dma_start(dev, dma);
}

/*
 * Guest memory as memory of this process: no copy at all. Fills pieces (room for max) and returns
 * their number; *m is a reference that keeps them mapped, also when the guest takes them away or
 * the VMM ends, until ob_dma_unmap(). Any thread may use the pieces meanwhile, by enum
 * ob_dma_flags. It is memory of the guest: copy, then check, then use. -E2BIG: more than max
 * pieces.
 */
static inline int ob_dma_map(struct ob_dev *dev, unsigned flags, uint64_t addr, uint64_t len,
			     struct ob_piece *pieces, unsigned max, struct ob_mapping **m)
{
	struct ob_sg range;

	range.addr = addr;
	range.len = len;
	return dev->api->dma_map(dev, flags, &range, pieces, max, m);
}

/*
 * The same for a scatter list: n_sg ranges (1 to OB_MAP_SG_MAX) as one mapping, the pieces in the
 * order of the ranges. What follows each other in this process too becomes one piece, so there may
 * be fewer pieces than ranges; a range over several windows of the guest's memory gives more. sg is
 * borrowed for the call. It costs some nanoseconds a range and no allocation once the device has
 * had as many mappings before.
 *
 * All or nothing, with the errors of ob_dma_map(), of the first range that has one: -EFAULT,
 * -EPERM; -EWOULDBLOCK where all of it is there, but the VMM keeps a part to itself. -EINVAL also:
 * n_sg is 0, or a range is empty. -E2BIG also: more than OB_MAP_SG_MAX ranges; ob_dma_start() takes
 * any number. Any part that is taken away revokes the whole mapping, and nothing between the ranges
 * does; see ob_class.revoked. -ENOSYS: the daemon is too old, OB_HAS(dev, dma_map_sg) is 0.
 */
static inline int ob_dma_map_sg(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg,
				unsigned n_sg, struct ob_piece *pieces, unsigned max,
				struct ob_mapping **m)
{
	if (!OB_HAS(dev, dma_map_sg))
		return -ENOSYS;
	return dev->api->dma_map_sg(dev, flags, sg, n_sg, pieces, max, m);
}

/* NULL is fine. */
static inline void ob_dma_unmap(struct ob_dev *dev, struct ob_mapping *m)
{
	dev->api->dma_unmap(dev, m);
}

/* Whether m was revoked (see ob_class.revoked): what is read or written now, nobody sees. Any
 * thread. */
static inline int ob_dma_is_revoked(struct ob_dev *dev, const struct ob_mapping *m)
{
	return dev->api->dma_is_revoked(m);
}

/* ---- Timers, posts, deferred answers --------------------------------------------------------- */

/* A timer, not set. It ends with the device, or with ob_timer_free(). Never NULL. */
static inline struct ob_timer *ob_timer_new(struct ob_dev *dev,
					    void (*fire)(struct ob_dev *dev, void *arg), void *arg)
{
	return dev->api->timer_new(dev, fire, arg);
}

/* Fires once, delay_ns from now; a timer that is set is set anew. Stands still while stopped. */
static inline void ob_timer_set(struct ob_dev *dev, struct ob_timer *t, uint64_t delay_ns)
{
	dev->api->timer_set(t, delay_ns);
}

/* It does not fire any more; fine if it is not set. */
static inline void ob_timer_cancel(struct ob_dev *dev, struct ob_timer *t)
{
	dev->api->timer_cancel(t);
}

/* Whether t is set, and (left_ns may be NULL) how long until it fires: what save() wants to know.
 */
static inline int ob_timer_left_ns(struct ob_dev *dev, const struct ob_timer *t, uint64_t *left_ns)
{
	return dev->api->timer_left_ns(t, left_ns);
}

/* Also from its own fire(); NULL is fine. */
static inline void ob_timer_free(struct ob_dev *dev, struct ob_timer *t)
{
	dev->api->timer_free(t);
}

/*
 * Any thread: fn(dev, arg) soon as a callback, in the order of the posts of a thread. 0;
 * -ESHUTDOWN: close() has returned, fn will not run. Must not be called once close() returned and
 * the device's threads ended.
 */
static inline int ob_post(struct ob_dev *dev, void (*fn)(struct ob_dev *dev, void *arg), void *arg)
{
	return dev->api->post(dev, fn, arg);
}

/*
 * In read(), write(), reset() or stop(): the answer comes later. What the callback returns is then
 * ignored. The guest's processor stands still until ob_finish(), and VMMs give up on a device after
 * some seconds: this is for answers that come from elsewhere, not for waiting. Other callbacks run
 * meanwhile. NULL: called elsewhere, or a second time in the same callback.
 */
static inline struct ob_call *ob_defer(struct ob_dev *dev)
{
	return dev->api->defer(dev);
}

/*
 * The answer: value for read(), else ignored. Required exactly once for each ob_defer(), before
 * close() returns or in it, also when the VMM went meanwhile. Takes call.
 */
static inline void ob_finish(struct ob_dev *dev, struct ob_call *call, uint64_t value)
{
	dev->api->finish(call, value);
}

/* ---- Save and restore ------------------------------------------------------------------------ */

/* A field: name is unique, at most 63 bytes; data at most 16 MiB. 0, -EINVAL, -EEXIST or -E2BIG. */
static inline int ob_put(struct ob_dev *dev, struct ob_state *out, const char *name,
			 const void *data, size_t len)
{
	return dev->api->put(out, name, data, len);
}

/*
 * 0; -ENOENT: there is no such field; -EINVAL: it has another length. data is written on success
 * only. The state came from outside: check what it says before use.
 */
static inline int ob_get(struct ob_dev *dev, struct ob_state *in, const char *name, void *data,
			 size_t len)
{
	return dev->api->get(in, name, data, len);
}

/* For fields whose length is not known. */
static inline int ob_get_len(struct ob_dev *dev, struct ob_state *in, const char *name, size_t *len)
{
	return dev->api->get_len(in, name, len);
}

/* A number, the same on every host; as ob_put(). */
static inline int ob_put_u64(struct ob_dev *dev, struct ob_state *out, const char *name,
			     uint64_t value)
{
	unsigned char b[8];
	unsigned i;

	for (i = 0; i < 8; i++)
		b[i] = (unsigned char)(value >> (8 * i));
	return dev->api->put(out, name, b, sizeof(b));
}

/* As ob_get(). */
static inline int ob_get_u64(struct ob_dev *dev, struct ob_state *in, const char *name,
			     uint64_t *value)
{
	unsigned char b[8];
	unsigned i;
	int res = dev->api->get(in, name, b, sizeof(b));

	if (res < 0)
		return res;
	*value = 0;
	for (i = 0; i < 8; i++)
		*value |= (uint64_t)b[i] << (8 * i);
	return 0;
}

#ifdef __cplusplus
}
#endif

#endif
