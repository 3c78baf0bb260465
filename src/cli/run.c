/*
 * outboard run: a private daemon and a VMM that has its drives and devices. This process is the
 * daemon; the VMM is its child, which the kernel kills if we die, and whose exit status is ours.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/disc_type.h"
#include "cli/private_dir.h"
#include "cli/qemu.h"
#include "control/daemon.h"
#include "disc/disc.h"

enum { STATUS_SIGNAL = 128, STATUS_NO_EXEC = 127 };

struct run {
	struct daemon_config config;
	const struct disc_type *type; /* of discs to be made; NULL: none are */
	uint32_t blocks;
	bool scsi;   /* a virtio-scsi controller shows disks and drives */
	bool blk;    /* each disk is a virtio disk */
	char **argv; /* of the VMM, as the user gave it */
	int qemu_at;
	struct qemu_line *line;
	char *dir;
	pid_t child;      /* 0: not running */
	int early_signal; /* came before it was started; 0: none */
};

/*
 * Kills the child with us, and gives it back the signals that our loop has blocked. Runs between
 * fork and exec.
 */
static void prepare_child(void *arg)
{
	pid_t parent = *(pid_t *)arg;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before the line above */
		_exit(STATUS_NO_EXEC);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	signal(SIGINT, SIG_DFL);
}

static bool start_vmm(struct run *r, GError **error)
{
	pid_t self = getpid();
	GError *why = NULL;

	if (g_spawn_async(NULL, (char **)r->line->argv->pdata, NULL,
			  G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
				  G_SPAWN_CHILD_INHERITS_STDIN | G_SPAWN_LEAVE_DESCRIPTORS_OPEN,
			  prepare_child, &self, &r->child, &why))
		return true;
	err_set(error, ENOENT, "%s cannot be started: %s", r->argv[0], why->message);
	g_error_free(why);
	return false;
}

static void forward_signal(int signo, void *arg)
{
	struct run *r = arg;

	if (r->child > 0)
		kill(r->child, signo);
	else
		r->early_signal = signo;
}

static void leave_signal(int signo, void *arg)
{
	(void)signo; /* a terminal's Ctrl-C reaches the VMM by itself */
	(void)arg;
}

static co_fn int wait_vmm(struct run *r)
{
	int fd = (int)syscall(SYS_pidfd_open, r->child, 0), status = 0;

	if (fd >= 0) {
		co_poll(fd, POLLIN, 0);
		close(fd);
	}
	while (waitpid(r->child, &status, 0) < 0 && errno == EINTR)
		;
	r->child = 0;
	return WIFSIGNALED(status) ? STATUS_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Makes the disc, or looks whether the one that exists is of the type asked for. */
static co_fn bool prepare_disc(const struct run *r, const char *path, GError **error)
{
	struct disc *disc;
	uint16_t born;

	if (access(path, F_OK))
		return disc_create(path, r->type, r->blocks, false, error);
	disc = disc_open(path, DISC_OPEN_NO_LOCK, PROFILE_NONE, error);
	if (!disc)
		return false;
	born = disc_get_state(disc)->born_profile;
	disc_close(disc, false);
	if (born == r->type->profile)
		return true;
	return err_set(
		error, EEXIST,
		"%s exists and is a %s, no %s; leave out --type to use it, or name another file",
		path, disc_profile_find(born)->name, r->type->name);
}

static bool catch_signals(struct run *r, GError **error)
{
	return loop_on_signal(co_loop(), SIGTERM, forward_signal, r, error) &&
	       loop_on_signal(co_loop(), SIGHUP, forward_signal, r, error) &&
	       loop_on_signal(co_loop(), SIGINT, leave_signal, r, error);
}

static co_fn int run_on_loop(const struct args *a, void *arg)
{
	struct run *r = arg;
	struct outboard_daemon *daemon = NULL;
	GError *error = NULL;
	int status;

	for (unsigned i = 0; r->type && i < args_count(a, "disc"); i++) {
		if (!prepare_disc(r, args_value_n(a, "disc", i), &error))
			return cli_failed(a, error);
	}
	if (!catch_signals(r, &error))
		return cli_failed(a, error);
	daemon = daemon_start(co_loop(), &r->config, &error);
	if (!daemon || (!r->early_signal && !start_vmm(r, &error)))
		status = cli_failed(a, error);
	else
		status = r->early_signal ? STATUS_SIGNAL + r->early_signal : wait_vmm(r);
	daemon_free(daemon);
	return status;
}

static json_t *line_json(const struct qemu_line *line)
{
	json_t *argv = json_array(), *added = json_array();

	for (unsigned i = 0; line->argv->pdata[i]; i++)
		json_array_append_new(argv, json_string(line->argv->pdata[i]));
	for (unsigned i = 0; i < line->added->len; i++) {
		const struct qemu_added *q = line->added->pdata[i];

		json_array_append_new(added, json_pack("{s:s, s:s, s:s}", "option", q->option,
						       "value", q->value, "why", q->why));
	}
	return json_pack("{s:o, s:o}", "argv", argv, "added", added);
}

static int print_line(const struct args *a, const struct qemu_line *line)
{
	if (args_has(a, "json"))
		return cli_print_json(a, line_json(line));
	for (unsigned i = 0; line->argv->pdata[i]; i++) {
		const char *word = line->argv->pdata[i];
		g_autofree char *quoted = g_shell_quote(word);
		bool plain = *word && strspn(word, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS
					     "@%+=:,./-_") == strlen(word);

		printf("%s%s", i ? " " : "", plain ? word : quoted);
	}
	printf("\n");
	for (unsigned i = 0; i < line->added->len; i++) {
		const struct qemu_added *q = line->added->pdata[i];

		printf("# added %s %s: %s\n", q->option, q->value, q->why);
	}
	return cli_finish_output(a, STATUS_DONE);
}

/* A path as the value of one key: commas are doubled. */
static bool add_disc(struct daemon_config *c, const char *path, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(path, ",", -1);
	g_autofree char *doubled = g_strjoinv(",,", parts);
	g_autofree char *text = g_strconcat("disc=", doubled, NULL);

	return config_add_optical(c, text, error);
}

/*
 * Which controller shows disks and drives: that of --bus; else those among the --device options;
 * else virtio-scsi for drives, and AHCI where there are disks, which every guest has a driver for.
 * virtio-blk is for disks; drives that are there too hang on virtio-scsi then.
 */
static bool choose_bus(const struct args *a, struct run *r, GError **error)
{
	static const char *const names[] = {"virtio-scsi", "virtio-blk", "ahci", "ide", NULL};
	const char *bus = args_value(a, "bus");
	bool own = false;

	if (bus && !g_strv_contains(names, bus)) {
		return err_set(error, EINVAL,
			       "--bus %s: there are virtio-scsi, virtio-blk (disks only), ahci and "
			       "ide",
			       bus);
	}
	for (unsigned i = 0; i < r->config.devices->len; i++)
		own = own || config_is_controller(r->config.devices->pdata[i]);
	if (!bus && own)
		return true;
	if (!bus)
		bus = r->config.disks->len ? "ahci" : "virtio-scsi";
	r->blk = !strcmp(bus, "virtio-blk");
	r->scsi = r->blk || !strcmp(bus, "virtio-scsi");
	if (r->blk) {
		return r->config.disks->len ||
		       err_set(error, EINVAL,
			       "--bus virtio-blk shows disks; give --disk file=FILE");
	}
	return r->scsi || config_add_device(&r->config, bus, error);
}

static bool read_drives_and_devices(const struct args *a, struct run *r, GError **error)
{
	const char *type = args_value(a, "type");

	for (unsigned i = 0; i < args_count(a, "optical"); i++) {
		if (!config_add_optical(&r->config, args_value_n(a, "optical", i), error))
			return false;
	}
	for (unsigned i = 0; i < args_count(a, "disc"); i++) {
		if (!add_disc(&r->config, args_value_n(a, "disc", i), error))
			return false;
	}
	for (unsigned i = 0; i < args_count(a, "disk"); i++) {
		if (!config_add_disk(&r->config, args_value_n(a, "disk", i), error))
			return false;
	}
	for (unsigned i = 0; i < args_count(a, "device"); i++) {
		if (!config_add_device(&r->config, args_value_n(a, "device", i), error))
			return false;
	}
	if (!r->config.opticals->len && !r->config.disks->len && !r->config.devices->len &&
	    !config_add_optical(&r->config, "", error))
		return false;
	if (!choose_bus(a, r, error))
		return false;
	if (type && !args_has(a, "disc")) {
		return err_set(
			error, EINVAL,
			"--type %s makes the files that --disc names, and there is no --disc",
			type);
	}
	if (!type && args_has(a, "capacity"))
		return err_set(error, EINVAL,
			       "--capacity is for discs that are made: give --type too");
	r->type = type ? cli_find_type(type, error) : NULL;
	return !type || (r->type &&
			 cli_parse_capacity(r->type, args_value(a, "capacity"), &r->blocks, error));
}

static bool read_vmm(const struct args *a, struct run *r, GError **error)
{
	r->argv = args_rest(a);
	if (!args_rest_given(a) || !r->argv[0]) {
		return err_set(
			error, EINVAL,
			"the VMM is missing: outboard run [OPTION...] -- qemu-system-x86_64 ...");
	}
	r->qemu_at = qemu_find(r->argv);
	if (r->qemu_at >= 0)
		return true;
	return err_set(error, EINVAL,
		       "'%s' is not a VMM whose command line is known. Start the drives with "
		       "'outboard serve "
		       "--optical ... --attach vhost-user,socket=PATH' and give the VMM shared "
		       "guest memory and a vhost-user "
		       "SCSI controller on that socket; for a QEMU these are the options: -object "
		       "memory-backend-memfd,"
		       "id=mem,size=SIZE,share=on -machine memory-backend=mem -chardev "
		       "socket,id=drives,path=PATH -device "
		       "vhost-user-scsi-pci,chardev=drives",
		       r->argv[0]);
}

static bool add_disk_socket(struct run *r, const char *dir, const char *disk, GError **error)
{
	g_autofree char *text =
		g_strdup_printf("vhost-user-blk,socket=%s/disk-%s.sock,disk=%s", dir, disk, disk);

	return config_add_attachment(&r->config, text, error);
}

/* A socket in the directory; device NULL: for the drives. */
static bool add_socket(struct run *r, const char *dir, const char *device, GError **error)
{
	g_autofree char *text =
		device ? g_strdup_printf("vfio-user,socket=%s/device-%s.sock,device=%s", dir,
					 device, device)
		       : g_strdup_printf("vhost-user,socket=%s/drives.sock", dir);

	return config_add_attachment(&r->config, text, error);
}

/* The sockets in the directory, the attachments on them, and the VMM's full command line. */
static bool plan(const struct args *a, struct run *r, struct qemu_version version, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(r->dir, ",", -1);
	g_autofree char *doubled = g_strjoinv(",,", parts);

	r->config.control = g_strdup(args_value(a, "control"));
	if (r->scsi && (r->config.opticals->len || (r->config.disks->len && !r->blk)) &&
	    !add_socket(r, doubled, NULL, error))
		return false;
	for (unsigned i = 0; r->blk && i < r->config.disks->len; i++) {
		const struct disk_config *disk = r->config.disks->pdata[i];

		if (!add_disk_socket(r, doubled, disk->id, error))
			return false;
	}
	for (unsigned i = 0; i < r->config.devices->len; i++) {
		const struct device_config *d = r->config.devices->pdata[i];

		if (!add_socket(r, doubled, d->id, error))
			return false;
	}
	if (!config_check(&r->config, error))
		return false;
	r->line = qemu_add_attachments(r->argv, r->qemu_at, r->config.attachments, version, error);
	return r->line;
}

static int run_vmm(const struct args *a, struct run *r)
{
	struct qemu_version version = {0, 0};
	GError *error = NULL;
	bool print = args_has(a, "print");

	if (!read_drives_and_devices(a, r, &error) || !read_vmm(a, r, &error))
		return cli_misused(a, error);
	if (args_has(a, "json") && !print)
		return cli_misused_text(a, "--json goes with --print");
	if (!qemu_ask_version(r->argv, r->qemu_at, &version, &error))
		return cli_failed(a, error);
	r->dir = print ? private_dir_template() : private_dir_new(&error);
	if (!r->dir)
		return cli_failed(a, error);
	if (!plan(a, r, version, &error))
		return cli_misused(a, error);
	return print ? print_line(a, r->line) : cli_on_loop(a, run_on_loop, r);
}

static int run_run(const struct args *a)
{
	struct run r = {.child = 0};
	int status;

	config_init(&r.config);
	status = run_vmm(a, &r);
	if (args_has(a, "print"))
		g_free(r.dir);
	else
		private_dir_free(r.dir);
	qemu_line_free(r.line);
	config_fini(&r.config);
	return status;
}

static const struct cli_option run_options[] = {
	{"optical", "SPEC", 0, OPTION_MANY},
	{"disc", "FILE", 0, OPTION_MANY | OPTION_FILE},
	{"type", "TYPE", 't'},
	{"capacity", "SIZE"},
	{"disk", "SPEC", 0, OPTION_MANY},
	{"bus", "BUS", 0, 0, "virtio-scsi|virtio-blk|ahci|ide"},
	{"device", "SPEC", 0, OPTION_MANY},
	{"control", "PATH", 0, OPTION_FILE},
	{"print"},
	{"json"},
	{NULL},
};

const struct cli_command command_run = {
	.name = "run",
	.options = run_options,
	.operands = "-- VMM [ARGUMENT...]",
	.takes_rest = true,
	.run = run_run,
};
