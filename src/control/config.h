/*
 * What a user asked the daemon for, as plain data: drives and attachments from their option texts.
 * No I/O here.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct optical_config {
	char *id;
	char *disc;                                 /* file to load; NULL: the tray is empty */
	char *vendor, *product, *revision, *serial; /* NULL: the drive's own */
	char *state;          /* state file; NULL: beside the first attachment's socket */
	uint16_t rom_profile; /* what a plain image is taken for; 0: by its size */
	bool strict, readonly;
};

struct attach_config {
	char *socket;
	char **drives;    /* ids, target 0 first; NULL: all drives in their order */
	unsigned queues;  /* 0: the back end's default */
	unsigned clients; /* front ends at a time; 0: 1 */
	bool packed;
};

struct daemon_config {
	GPtrArray *opticals;    /* struct optical_config */
	GPtrArray *attachments; /* struct attach_config */
	char *control;          /* path of the control socket, or NULL */
};

void config_init(struct daemon_config *c);
void config_fini(struct daemon_config *c);

/*
 * "disc=FILE,id=cd0,vendor=,product=,revision=,serial=,state=,rom=cd|dvd|bd,strict=,readonly="; the
 * key of a first bare value is "disc". The text "" is an empty drive. A drive without id is called
 * cd0, cd1 ...
 */
bool config_add_optical(struct daemon_config *c, const char *text, GError **error);
/* "vhost-user,socket=PATH,drives=cd0:cd1,queues=N,clients=N,packed=on|off" */
bool config_add_attachment(struct daemon_config *c, const char *text, GError **error);
/* Whether it all fits together: drives exist, sockets are used once, something is attached. */
bool config_check(const struct daemon_config *c, GError **error);
const struct optical_config *config_find_optical(const struct daemon_config *c, const char *id);
