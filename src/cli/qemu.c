/* QEMU's command line: see qemu.h. */
#include "cli/qemu.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/opts.h"

int qemu_find(char *const *argv)
{
	for (int i = 0; argv[i]; i++) {
		g_autofree char *name = g_path_get_basename(argv[i]);

		/* A loader's --argv0 only names what comes later. */
		if (i && !strcmp(argv[i - 1], "--argv0"))
			continue;
		if (g_str_has_prefix(name, "qemu-system-") || !strcmp(name, "qemu-kvm") ||
		    (!i && !strcmp(name, "kvm")))
			return i;
	}
	return -1;
}

bool qemu_parse_version(const char *text, struct qemu_version *out)
{
	const char *at = strstr(text, "version ");

	return at && sscanf(at, "version %u.%u", &out->major, &out->minor) == 2;
}

bool qemu_ask_version(char *const *argv, int at, struct qemu_version *out, GError **error)
{
	g_autofree char **words = g_new0(char *, at + 3);
	g_autofree char *text = NULL;
	GError *why = NULL;

	for (int i = 0; i <= at; i++)
		words[i] = argv[i];
	words[at + 1] = (char *)"-version";
	if (!g_spawn_sync(NULL, words, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
			  NULL, &text, NULL, NULL, &why)) {
		err_set(error, ENOENT, "%s cannot be started: %s", argv[at], why->message);
		g_error_free(why);
		return false;
	}
	if (qemu_parse_version(text, out))
		return true;
	return err_set(error, EINVAL, "%s -version does not answer as a QEMU does", argv[at]);
}

static void added_free(void *p)
{
	struct qemu_added *a = p;

	g_free(a->option);
	g_free(a->value);
	g_free(a->why);
	g_free(a);
}

void qemu_line_free(struct qemu_line *line)
{
	if (!line)
		return;
	g_ptr_array_free(line->argv, TRUE);
	g_ptr_array_free(line->added, TRUE);
	g_free(line);
}

/* Takes value and why. */
static void add(struct qemu_line *line, const char *option, char *value, char *why)
{
	struct qemu_added *a = g_new0(struct qemu_added, 1);

	a->option = g_strdup(option);
	a->value = value;
	a->why = why;
	g_ptr_array_add(line->added, a);
	g_ptr_array_add(line->argv, g_strdup(option));
	g_ptr_array_add(line->argv, g_strdup(value));
}

/* Commas in a value are doubled. */
static char *quote_value(const char *text)
{
	g_auto(GStrv) parts = g_strsplit(text, ",", -1);

	return g_strjoinv(",,", parts);
}

static char *memory_size_text(uint64_t bytes)
{
	if (bytes % (1 << 30) == 0)
		return g_strdup_printf("%" PRIu64 "G", bytes >> 30);
	if (bytes % (1 << 20) == 0)
		return g_strdup_printf("%" PRIu64 "M", bytes >> 20);
	return g_strdup_printf("%" PRIu64, bytes);
}

static void add_memory(struct qemu_line *line, const struct qemu_memory *m, const char *program)
{
	g_autofree char *size =
		memory_size_text(m->bytes ? m->bytes : qemu_default_memory(program));
	char *why = g_strdup_printf("the memory that %s%s, so that what is outside can reach it",
				    m->size_text ? "-m asks for: " : "QEMU takes by default",
				    m->size_text ? m->size_text : "");

	add(line, "-object",
	    g_strdup_printf("memory-backend-memfd,id=outboard-mem,size=%s,share=on", size), why);
	add(line, "-machine", g_strdup("memory-backend=outboard-mem"),
	    g_strdup("makes that the memory of the machine; merges with other -machine options"));
}

/* The option counts milliseconds from 9.2 on. */
static const char *reconnect_option(struct qemu_version v)
{
	bool ms = v.major > 9 || (v.major == 9 && v.minor >= 2);

	return ms ? ",reconnect-ms=1000" : ",reconnect=1";
}

/* vhost-user-scsi can reconnect from 8.2 on, vhost-user-blk for much longer. */
static bool scsi_can_reconnect(struct qemu_version v)
{
	return v.major > 8 || (v.major == 8 && v.minor >= 2);
}

/* vfio-user-pci came with 10.1. */
static bool check_vfio_user(struct qemu_version v, GError **error)
{
	if (v.major > 10 || (v.major == 10 && v.minor >= 1))
		return true;
	return err_set(
		error, EINVAL,
		"a PCI device or controller from outside needs QEMU 10.1 or newer, which has "
		"vfio-user-pci; this one is %u.%u (drives alone go by --bus virtio-scsi)",
		v.major, v.minor);
}

/* The socket's path is UTF-8 (config.c). */
static char *vfio_user_device(const char *socket)
{
	json_t *j = json_pack("{s:s, s:{s:s, s:s}}", "driver", "vfio-user-pci", "socket", "type",
			      "unix", "path", socket);
	char *text = json_dumps(j, JSON_COMPACT), *copy = g_strdup(text);

	free(text);
	json_decref(j);
	return copy;
}

static void add_controller(struct qemu_line *line, const char *socket, struct qemu_version version)
{
	g_autofree char *path = quote_value(socket);

	add(line, "-chardev",
	    g_strdup_printf("socket,id=outboard0,path=%s%s", path,
			    scsi_can_reconnect(version) ? reconnect_option(version) : ""),
	    g_strdup("the connection to the drives"));
	add(line, "-device",
	    g_strdup("vhost-user-scsi-pci,id=outboard0,chardev=outboard0,num_queues=1"),
	    g_strdup("the controller that the guest sees"));
}

static void add_virtio_disk(struct qemu_line *line, const struct attach_config *a,
			    struct qemu_version version)
{
	g_autofree char *path = quote_value(a->socket);

	add(line, "-chardev",
	    g_strdup_printf("socket,id=outboard-%s,path=%s%s", a->disk, path,
			    reconnect_option(version)),
	    g_strdup_printf("the connection to disk %s", a->disk));
	add(line, "-device",
	    g_strdup_printf("vhost-user-blk-pci,id=outboard-%s,chardev=outboard-%s,num-queues=%u",
			    a->disk, a->disk, a->queues ? a->queues : 1),
	    g_strdup_printf("disk %s, as the guest sees it", a->disk));
}

/* One controller at most: its names are fixed. */
static bool add_attachments(struct qemu_line *line, const GPtrArray *attachments,
			    struct qemu_version version, GError **error)
{
	for (unsigned i = 0; i < attachments->len; i++) {
		const struct attach_config *a = attachments->pdata[i];

		if (a->kind == ATTACH_VHOST_USER) {
			add_controller(line, a->socket, version);
			continue;
		}
		if (a->kind == ATTACH_VHOST_USER_BLK) {
			add_virtio_disk(line, a, version);
			continue;
		}
		if (!check_vfio_user(version, error))
			return false;
		add(line, "-device", vfio_user_device(a->socket),
		    g_strdup_printf("device %s, by its socket", a->device));
	}
	return true;
}

static bool check_memory(const struct qemu_memory *m, bool *shared, GError **error)
{
	if (!qemu_memory_is_shared(m, shared, error))
		return false;
	if (!m->daemonize)
		return true;
	return err_set(error, EINVAL,
		       "-daemonize: the end of the VMM could not be seen; leave it out, or use "
		       "'outboard serve'");
}

struct qemu_line *qemu_add_attachments(char *const *argv, int at, const GPtrArray *attachments,
				       struct qemu_version version, GError **error)
{
	struct qemu_line *line = NULL;
	struct qemu_memory m;
	bool shared = false;

	if (!qemu_memory_parse(&m, argv + at + 1, error) || !check_memory(&m, &shared, error))
		goto out;
	line = g_new0(struct qemu_line, 1);
	line->argv = g_ptr_array_new_with_free_func(g_free);
	line->added = g_ptr_array_new_with_free_func(added_free);
	for (unsigned i = 0; argv[i]; i++)
		g_ptr_array_add(line->argv, g_strdup(argv[i]));
	if (!shared)
		add_memory(line, &m, argv[at]);
	if (!add_attachments(line, attachments, version, error)) {
		qemu_line_free(line);
		line = NULL;
		goto out;
	}
	g_ptr_array_add(line->argv, NULL);
out:
	qemu_memory_fini(&m);
	return line;
}

static char *paste_device(const struct attach_config *c)
{
	g_autofree char *json = NULL, *quoted = NULL, *path = NULL;

	if (c->kind == ATTACH_VFIO_USER) {
		json = vfio_user_device(c->socket);
		quoted = g_shell_quote(json);
		return g_strdup_printf("-device %s", quoted);
	}
	path = quote_value(c->socket);
	if (c->kind == ATTACH_VHOST_USER_BLK) {
		return g_strdup_printf("-chardev socket,id=%s,path=%s -device "
				       "vhost-user-blk-pci,chardev=%s,num-queues=%u",
				       c->disk, path, c->disk, c->queues ? c->queues : 1);
	}
	return g_strdup_printf("-chardev socket,id=drives,path=%s -device "
			       "vhost-user-scsi-pci,chardev=drives,num_queues=%u",
			       path, c->queues ? c->queues : 1);
}

char *qemu_paste_line(const struct attach_config *c)
{
	g_autofree char *device = paste_device(c);

	return g_strdup_printf("-object memory-backend-memfd,id=mem,size=SIZE,share=on -machine "
			       "memory-backend=mem %s",
			       device);
}
