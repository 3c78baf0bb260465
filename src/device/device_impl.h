/* Inside a device: what the files of src/device share. Nothing outside includes this. */
#pragma once

#include "base/log.h"
#include "device/device.h"
#include "outboard.h"
#include "pci/build.h"
#include "pci/state.h"

#include <pthread.h>

struct plugin;
struct remote;

struct prop_value {
	uint64_t number;
	char *text; /* TEXT, ENUM; NULL: not set */
};

struct device_bar {
	uint64_t (*read)(struct ob_dev *dev, uint64_t off, unsigned width);
	void (*write)(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width);
};

struct ob_doorbell {
	void (*ring)(struct ob_dev *dev, void *arg);
	void *arg;
};

struct ob_timer {
	struct loop_timer timer;
	struct device *d;
	struct ob_timer *prev, *next;
	void (*fire)(struct ob_dev *dev, void *arg);
	void *arg;
	bool is_set;      /* and, while the machine stands still, not running: */
	uint64_t left_ns; /* what remains of it */
};

struct ob_mapping {
	struct pci_mapping m;
	struct device *d;
	struct ob_mapping *prev, *next;
};

struct device_post {
	struct device_post *next;
	void (*fn)(struct ob_dev *dev, void *arg);
	void *arg;
};

/* An ob_dma on its way. */
struct device_dma {
	struct pci_transfer t;
	struct device_dma *next; /* in the pool */
	struct device *d;
	struct ob_dma *dma;
};

typedef void (*device_written_fn)(struct ob_dev *dev, int cap, size_t off, size_t len);

struct device {
	struct ob_dev dev; /* the first: ob_dev and device are the same address */
	struct ob_class cls;
	struct ob_prop *props; /* copies of today's size */
	struct prop_value *values;
	struct plugin *plugin; /* NULL: a class of the tree */
	struct remote *remote; /* NULL: it is no program */
	struct loop *loop;
	struct pci_function *f;
	char *name;

	struct device_bar bars[PCI_REGIONS];
	struct ob_doorbell **doorbells;
	unsigned n_doorbells;
	device_written_fn *written;
	unsigned n_vendors;

	GError *refused; /* the first declaration that was wrong */
	char *why;       /* by ob_error() */
	bool listening;  /* ob_error() is kept: open() or restore() runs */
	bool opened;     /* open() was called: close() is due */
	bool stopped;

	struct ob_timer *timers;
	struct ob_mapping *mappings;
	struct device_dma *dma_pool;

	pthread_mutex_t lock; /* for posts, closed and guest_log, which any thread uses */
	struct device_post *posts, **posts_tail;
	bool closed;
	struct log_limit guest_log;
	struct loop_task post_task;
};

static inline struct device *device_of(struct ob_dev *dev)
{
	return (struct device *)dev;
}

/* props.c */
bool props_check(const struct ob_class *cls, GError **error);
struct ob_prop *props_copy(const struct ob_class *cls);
struct prop_value *props_parse(const struct device *d, struct opts *opts, GError **error);
void props_free(const struct device *d);
int props_find(const struct device *d, const char *name); /* index or -1 */

/* plugin.c: a class out of a shared library, which stays loaded until plugin_unref(). */
struct plugin *plugin_load(const char *path, GError **error);
/* name NULL: the only one. NULL: *error. */
const struct ob_class *plugin_class(struct plugin *p, const char *name, GError **error);
void plugin_unref(struct plugin *p);

/* registry.c: checks a class and fills what an older header did not have with 0. */
bool class_copy(struct ob_class *out, const struct ob_class *in, GError **error);
const struct ob_class *class_find(const char *name, GError **error);

/* api*.c: what struct ob_api holds, by subject. */
extern const struct ob_api device_api;

int api_set_identity(struct ob_dev *dev, const struct ob_identity *id);
int api_add_bar(struct ob_dev *dev, const struct ob_bar *bar);
void *api_bar_memory(struct ob_dev *dev, unsigned index);
int api_add_msi(struct ob_dev *dev, unsigned vectors, unsigned flags);
int api_add_msix(struct ob_dev *dev, unsigned vectors, unsigned table_bar, uint64_t table_off,
		 unsigned pba_bar, uint64_t pba_off);
int api_add_pcie(struct ob_dev *dev);
int api_add_pm(struct ob_dev *dev);
int api_add_vendor(struct ob_dev *dev, const void *body, const void *writable, size_t len,
		   device_written_fn written);
struct ob_doorbell *api_add_doorbell(struct ob_dev *dev, unsigned bar, uint64_t off, unsigned width,
				     unsigned flags, uint64_t match,
				     void (*ring)(struct ob_dev *dev, void *arg), void *arg);

int api_dma_sync(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg, unsigned n_sg,
		 void *buf);
int api_dma_start(struct ob_dev *dev, struct ob_dma *dma);
int api_dma_map(struct ob_dev *dev, unsigned flags, const struct ob_sg *range,
		struct ob_piece *pieces, unsigned max, struct ob_mapping **out);
void api_dma_unmap(struct ob_dev *dev, struct ob_mapping *m);
int api_dma_is_revoked(const struct ob_mapping *m);
void dma_fini(struct device *d);

struct ob_timer *api_timer_new(struct ob_dev *dev, void (*fire)(struct ob_dev *dev, void *arg),
			       void *arg);
void api_timer_set(struct ob_timer *t, uint64_t delay_ns);
void api_timer_cancel(struct ob_timer *t);
int api_timer_left_ns(const struct ob_timer *t, uint64_t *left_ns);
void api_timer_free(struct ob_timer *t);
void timers_stop(struct device *d);
void timers_start(struct device *d);

int api_post(struct ob_dev *dev, void (*fn)(struct ob_dev *dev, void *arg), void *arg);
void posts_init(struct device *d);
void posts_close(struct device *d); /* what did not run never will */

int api_put(struct ob_state *out, const char *name, const void *data, size_t len);
int api_get(struct ob_state *in, const char *name, void *data, size_t len);
int api_get_len(struct ob_state *in, const char *name, size_t *len);
bool device_save(struct pci_function *f, GByteArray *out, GError **error);
bool device_restore(struct pci_function *f, const void *data, size_t len, GError **error);
