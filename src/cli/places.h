/*
 * Files that come with the program and that it reads or starts at run time: templates, Python
 * modules. They are in share/outboard once installed; a program run from its build directory takes
 * those of its source tree, where the folders have the same names.
 */
#pragma once

#include <glib.h>

/* Path of such a file or folder ("guest/device_test.py"). NULL with an error if it is not there. */
char *places_find(const char *name, GError **error);

/* The running program's own path, for what is to call it again. Never NULL. */
char *places_program(void);

/* The folder with outboard.h, for compilers that pkg-config does not tell. Never NULL. */
char *places_include(void);
