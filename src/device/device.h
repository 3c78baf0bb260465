/*
 * Devices made through the SDK (include/outboard.h): those of the tree and plug-ins. One loop owns
 * a device, its PCI function and whoever attaches to that.
 */
#pragma once

#include "base/co.h"
#include "base/opts.h"
#include "pci/function.h"

struct device;
struct ob_class;

/*
 * Makes a device from options: "driver" is a class of the tree ("edu") or, with a slash in it, the
 * path of a plug-in ("./mydev.so"; "class" chooses among several in it), or a program
 * ("exec:./prog", "tcp:HOST:PORT", "unix:PATH", "./mydev.py"; the process must ignore SIGPIPE);
 * "id" names the instance for messages; all others are the class's properties. What is wrong is
 * refused by name, with what would be right. opts is borrowed for the call. NULL: *error.
 */
co_fn struct device *device_new(struct loop *loop, struct opts *opts, GError **error);
/* As device_new(), for a class at hand (borrowed for the device's life). */
co_fn struct device *device_new_of_class(struct loop *loop, const struct ob_class *cls,
					 struct opts *opts, GError **error);
/* Its function must be detached. NULL is fine. */
co_fn void device_free(struct device *d);

struct pci_function *device_function(struct device *d);
const char *device_id(const struct device *d);
const char *device_class_name(const struct device *d);
/* Its class; borrowed, fields an older plug-in does not have are 0. */
const struct ob_class *device_class(const struct device *d);
/* Of its class's n_props properties; borrowed. */
const struct ob_prop *device_prop(const struct device *d, unsigned i);

/* The classes of the tree, ending with NULL. */
const struct ob_class *const *device_classes(void);
/* "name  help" of each property with its values and default, one a line, in a new string. */
char *device_class_help(const struct ob_class *cls);
