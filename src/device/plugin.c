/*
 * Plug-ins: shared libraries that export ob_plugin (OB_PLUGIN() in the SDK).
 *
 * The file is looked at before the dynamic loader sees it, since the loader's own messages tell a
 * user little about a source file or a library for another machine. Loading runs the library's
 * constructors: whoever may name a plug-in may run code in the daemon.
 */
#include "device/device_impl.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct plugin {
	void *handle;
	char *path;
	const struct ob_plugin *desc;
};

static uint16_t own_machine(void)
{
	Elf64_Ehdr head = {0};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, &head, sizeof(head)) != sizeof(head))
			head.e_machine = EM_NONE;
		close(fd);
	}
	return head.e_machine;
}

static bool check_head(const char *path, const Elf64_Ehdr *head, ssize_t n, GError **error)
{
	uint16_t machine = own_machine();

	if (n < (ssize_t)sizeof(*head) || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0)
		return err_set(error, ENOEXEC,
			       "%s is no shared library (build it with -shared -fPIC)", path);
	if (head->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) ||
	    (machine != EM_NONE && head->e_machine != machine))
		return err_set(error, ENOEXEC, "%s is a library for another kind of machine", path);
	if (head->e_type != ET_DYN) {
		return err_set(error, ENOEXEC,
			       "%s is an object file or program, not a shared library (build it "
			       "with -shared -fPIC)",
			       path);
	}
	return true;
}

static bool check_file(const char *path, GError **error)
{
	Elf64_Ehdr head;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return err_set_errno(error, errno, "plug-in %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return err_set(error, EINVAL, "plug-in %s is no file", path);
	}
	n = read(fd, &head, sizeof(head));
	close(fd);
	return check_head(path, &head, n, error) || err_prefix(error, "plug-in");
}

static bool check_desc(const struct plugin *p, GError **error)
{
	const struct ob_plugin *desc = p->desc;

	if (desc->magic != OB_MAGIC) {
		return err_set(error, EINVAL,
			       "plug-in %s: its symbol ob_plugin is something else (define it with "
			       "OB_PLUGIN() of outboard.h)",
			       p->path);
	}
	if (desc->abi != OB_ABI) {
		return err_set(
			error, EPROTO,
			"plug-in %s was built for ABI %" PRIu32
			" of the SDK, this outboard has ABI %d: build it anew with its header",
			p->path, desc->abi, OB_ABI);
	}
	if (desc->size < offsetof(struct ob_plugin, classes) + sizeof(desc->classes) ||
	    !desc->classes || !desc->classes[0])
		return err_set(error, EINVAL, "plug-in %s names no device class", p->path);
	return true;
}

struct plugin *plugin_load(const char *path, GError **error)
{
	struct plugin *p;

	if (!check_file(path, error))
		return NULL;
	p = g_new0(struct plugin, 1);
	p->path = g_strdup(path);
	p->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!p->handle) {
		err_set(error, ENOEXEC, "plug-in %s cannot be loaded: %s", path, dlerror());
		plugin_unref(p);
		return NULL;
	}
	p->desc = dlsym(p->handle, "ob_plugin");
	if (!p->desc) {
		err_set(error, EINVAL,
			"plug-in %s has no symbol ob_plugin: it is no Outboard plug-in, or lacks "
			"OB_PLUGIN() of outboard.h",
			path);
		plugin_unref(p);
		return NULL;
	}
	if (!check_desc(p, error)) {
		plugin_unref(p);
		return NULL;
	}
	return p;
}

const struct ob_class *plugin_class(struct plugin *p, const char *name, GError **error)
{
	const struct ob_class *const *c = p->desc->classes;
	GString *known;

	if (!name && !c[1])
		return c[0];
	known = g_string_new(NULL);
	for (; *c; c++) {
		const char *n = (*c)->name ? (*c)->name : "?";

		if (name && strcmp(n, name) == 0) {
			g_string_free(known, TRUE);
			return *c;
		}
		g_string_append_printf(known, "%s%s", known->len ? ", " : "", n);
	}
	if (name) {
		err_set(error, ENOENT, "plug-in %s has no device \"%s\"; it has %s", p->path, name,
			known->str);
	} else {
		err_set(error, EINVAL, "plug-in %s has several devices: choose with class=, of %s",
			p->path, known->str);
	}
	g_string_free(known, TRUE);
	return NULL;
}

void plugin_unref(struct plugin *p)
{
	if (!p)
		return;
	if (p->handle)
		dlclose(p->handle);
	g_free(p->path);
	g_free(p);
}
