/* QEMU's memory options in all their forms, and what is added to a command line. */
#include "cli_test.h"

#include <unistd.h>

#include "cli/qemu.h"

#define MIB (1024ull * 1024)

static struct qemu_memory memory;

#define parse(...)                                                    \
	do {                                                          \
		char *args_[] = {__VA_ARGS__ __VA_OPT__(, ) NULL};    \
		qemu_memory_fini(&memory);                            \
		assert_true(qemu_memory_parse(&memory, args_, NULL)); \
	} while (0)

static void test_sizes(void **state)
{
	static const struct {
		char *text;
		uint64_t bytes;
	} forms[] = {
		{"2G", 2048 * MIB},         {"512", 512 * MIB},
		{"512M", 512 * MIB},        {"size=1G,slots=2,maxmem=4G", 1024 * MIB},
		{"300,slots=1", 300 * MIB}, {"1.5G", 1536 * MIB},
		{"slots=2,maxmem=4G", 0},   {"0", 0},
		{"1025K", 1032 * 1024},     {"size=64", 64 * MIB},
	};

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
		parse("-m", forms[i].text);
		assert_int_equal(memory.bytes, forms[i].bytes);
		parse("--m", forms[i].text);
		assert_int_equal(memory.bytes, forms[i].bytes);
	}
	parse("-m", "1G", "-m", "slots=3", "-smp", "2", "-m", "2G");
	assert_int_equal(memory.bytes, 2048 * MIB);
	parse("-m", "1G", "-m", "slots=3,maxmem=8G");
	assert_int_equal(memory.bytes, 1024 * MIB);
	parse("-M", "q35,memory.size=256M");
	assert_int_equal(memory.bytes, 256 * MIB);
	parse("-append", "-m", "-m", "1G", "disk.img");
	assert_int_equal(memory.bytes, 1024 * MIB);
	parse("-machine", "q35");
	assert_int_equal(memory.bytes, 0);
	parse("disk.img", "-m");
	assert_int_equal(memory.bytes, 0);
}

static void test_bad_size(void **state)
{
	char *args[] = {"-m", "lots", NULL};
	GError *error = NULL;

	(void)state;
	qemu_memory_fini(&memory);
	assert_false(qemu_memory_parse(&memory, args, &error));
	says(&error, "-m lots: that size is not understood");
}

static bool shared(GError **error)
{
	bool is = false;

	return qemu_memory_is_shared(&memory, &is, error) && is;
}

static void test_backends(void **state)
{
	GError *error = NULL;

	(void)state;
	parse("-machine", "pc");
	assert_false(shared(&error));
	assert_null(error);
	parse("-machine", "pc,memory-backend=a", "-object", "memory-backend-memfd,id=a,size=1G");
	assert_true(shared(&error));
	parse("-object", "memory-backend-file,id=a,size=1G,mem-path=/x,share=on", "-M",
	      "memory-backend=a");
	assert_true(shared(&error));
	parse("-object", "{\"qom-type\":\"memory-backend-file\",\"id\":\"a\",\"share\":true}", "-M",
	      "memory-backend=a");
	assert_true(shared(&error));
	parse("-object", "memory-backend-shm,id=a,size=1G", "-numa", "node,memdev=a");
	assert_true(shared(&error));
	assert_null(error);
	parse("-object", "memory-backend-file,id=a,size=1G,mem-path=/x", "-M", "memory-backend=a");
	assert_false(shared(&error));
	says(&error, "add share=on");
	parse("-object", "memory-backend-memfd,id=a,size=1G,share=off", "-M", "memory-backend=a");
	assert_false(shared(&error));
	says(&error, "add share=on");
	parse("-object", "memory-backend-ram,id=a,size=1G,share=on", "-numa", "node,memdev=a");
	assert_false(shared(&error));
	says(&error, "memory-backend-memfd,share=on");
	parse("-M", "memory-backend=nowhere");
	assert_false(shared(&error));
	says(&error, "'nowhere'");
	parse("-mem-path", "/dev/hugepages");
	assert_false(shared(&error));
	says(&error, "-mem-path /dev/hugepages");
}

#define MAIN_MEMORY "-object", "memory-backend-memfd,id=a,size=1G", "-M", "memory-backend=a"

/* Modules are guest memory too, but they do not replace that of the machine. */
static void test_plugged(void **state)
{
	static char *const devices[] = {
		"pc-dimm,memdev=b",
		"nvdimm,id=n,memdev=b",
		"virtio-mem-pci,memdev=b,requested-size=1G",
		"virtio-pmem-pci,memdev=b",
		"driver=pc-dimm,memdev=b",
		"{\"driver\":\"pc-dimm\",\"memdev\":\"b\"}",
	};
	GError *error = NULL;

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
		parse(MAIN_MEMORY, "-object", "memory-backend-memfd,id=b,size=1G,share=off",
		      "-device", devices[i]);
		assert_false(shared(&error));
		says(&error, "memory backend 'b' is not shared");
		parse(MAIN_MEMORY, "-object", "memory-backend-memfd,id=b,size=1G", "-device",
		      devices[i]);
		assert_true(shared(&error));
		assert_null(error);
		parse("-object", "memory-backend-memfd,id=b,size=1G", "-device", devices[i]);
		assert_false(shared(&error)); /* the main memory is still to be added */
		assert_null(error);
	}
	parse(MAIN_MEMORY, "-object", "memory-backend-file,id=b,size=1M,mem-path=/x", "-device",
	      "ivshmem-plain,memdev=b");
	assert_true(shared(&error));
	parse("-device", "e1000", "-m", "1G");
	assert_int_equal(memory.bytes, 1024 * MIB);
}

static void test_readconfig(void **state)
{
	static const char text[] =
		"# made by hand\n[memory]\n  size = \"768\"\n\n[object \"ram\"]\n"
		"  qom-type = \"memory-backend-memfd\"\n[machine]\n  memory-backend = \"ram\"\n";
	g_autofree char *path = NULL;
	int fd = g_file_open_tmp("qemu-XXXXXX.cfg", &path, NULL);

	(void)state;
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	parse("-readconfig", path);
	unlink(path);
	assert_int_equal(memory.bytes, 768 * MIB);
	assert_true(shared(NULL));
	parse("-readconfig", "/nonexistent");
	assert_int_equal(memory.bytes, 0);
}

static void test_find(void **state)
{
	char *direct[] = {"/usr/bin/qemu-system-x86_64", "-m", "1G", NULL};
	char *wrapped[] = {"taskset", "-c", "1", "qemu-system-aarch64", NULL};
	char *loader[] = {"ld.so", "--argv0", "qemu-system-x86_64", "/t/qemu-system-x86_64", NULL};
	char *other[] = {"crosvm", "kvm", NULL};
	char *none[] = {NULL};

	(void)state;
	assert_int_equal(qemu_find(direct), 0);
	assert_int_equal(qemu_find(wrapped), 3);
	assert_int_equal(qemu_find(loader), 3);
	assert_int_equal(qemu_find(other), -1);
	assert_int_equal(qemu_find(none), -1);
}

static void test_version(void **state)
{
	struct qemu_version v;

	(void)state;
	assert_true(qemu_parse_version("QEMU emulator version 7.2.22 (Debian 1:7.2)", &v));
	assert_int_equal(v.major * 100 + v.minor, 702);
	assert_true(qemu_parse_version("QEMU emulator version 11.1.3", &v));
	assert_int_equal(v.major * 100 + v.minor, 1101);
	assert_false(qemu_parse_version("crosvm 1", &v));
}

static char *added_for(char **argv, struct qemu_version version)
{
	struct attach_config drives = {.socket = (char *)"/run/a,b.sock"};
	struct attach_config device = {.kind = ATTACH_VFIO_USER,
				       .socket = (char *)"/run/a,b\".sock",
				       .device = (char *)"dev0"};
	void *both[] = {&drives, &device};
	GPtrArray attachments = {both, version.major >= 10 ? 2 : 1};
	struct qemu_line *line = qemu_add_attachments(argv, 0, &attachments, version, NULL);
	GString *s = g_string_new(NULL);

	assert_non_null(line);
	for (unsigned i = 0; i < line->added->len; i++) {
		struct qemu_added *a = line->added->pdata[i];

		g_string_append_printf(s, "%s %s\n", a->option, a->value);
		assert_non_null(a->why);
	}
	assert_null(line->argv->pdata[line->argv->len - 1]);
	assert_int_equal(line->argv->len - 1, g_strv_length(argv) + 2 * line->added->len);
	qemu_line_free(line);
	return g_string_free(s, FALSE);
}

static void test_added(void **state)
{
	char *plain[] = {"qemu-system-x86_64", "-m", "3000", NULL};
	char *own[] = {"qemu-system-x86_64",        "-M", "memory-backend=a", "-object",
		       "memory-backend-memfd,id=a", NULL};
	struct qemu_version v7 = {7, 2}, v8 = {8, 2}, v9 = {9, 2}, v10 = {10, 1};
	g_autofree char *a = added_for(plain, v7), *b = added_for(plain, v8),
			*c = added_for(own, v9), *d = added_for(own, v10);

	(void)state;
	assert_string_equal(
		a, "-object memory-backend-memfd,id=outboard-mem,size=3000M,share=on\n"
		   "-machine memory-backend=outboard-mem\n"
		   "-chardev socket,id=outboard0,path=/run/a,,b.sock\n"
		   "-device vhost-user-scsi-pci,id=outboard0,chardev=outboard0,num_queues=1\n");
	assert_non_null(strstr(b, ",reconnect=1\n"));
	assert_null(strstr(c, "outboard-mem"));
	assert_non_null(strstr(c, ",reconnect-ms=1000\n"));
	assert_true(g_str_has_suffix(d, "num_queues=1\n-device {\"driver\":\"vfio-user-pci\","
					"\"socket\":{\"type\":\"unix\","
					"\"path\":\"/run/a,b\\\".sock\"}}\n"));
}

static void test_too_old_for_devices(void **state)
{
	char *argv[] = {"qemu-system-x86_64", NULL};
	struct attach_config device = {.kind = ATTACH_VFIO_USER, .socket = (char *)"/s"};
	void *one[] = {&device};
	GPtrArray attachments = {one, 1};
	struct qemu_version v10_0 = {10, 0}, v11 = {11, 0};
	struct qemu_line *line;
	GError *error = NULL;

	(void)state;
	assert_null(qemu_add_attachments(argv, 0, &attachments, v10_0, &error));
	says(&error, "QEMU 10.1 or newer");
	line = qemu_add_attachments(argv, 0, &attachments, v11, NULL);
	assert_non_null(line);
	assert_int_equal(line->added->len, 3);
	qemu_line_free(line);
}

static void test_virtio_disks(void **state)
{
	char *argv[] = {"qemu-system-x86_64", NULL};
	struct attach_config one = {
		.kind = ATTACH_VHOST_USER_BLK, .socket = (char *)"/a,b", .disk = (char *)"sys"};
	struct attach_config two = {.kind = ATTACH_VHOST_USER_BLK,
				    .socket = (char *)"/c",
				    .disk = (char *)"data",
				    .queues = 4};
	void *both[] = {&one, &two};
	GPtrArray attachments = {both, 2};
	struct qemu_version v7 = {7, 2}, v11 = {11, 1};
	struct qemu_line *line = qemu_add_attachments(argv, 0, &attachments, v7, NULL);
	g_autofree char *paste = qemu_paste_line(&two);
	const struct qemu_added *a;

	(void)state;
	assert_non_null(line);
	assert_int_equal(line->added->len, 6);
	a = line->added->pdata[2];
	assert_string_equal(a->value, "socket,id=outboard-sys,path=/a,,b,reconnect=1");
	a = line->added->pdata[3];
	assert_string_equal(a->value, "vhost-user-blk-pci,id=outboard-sys,chardev=outboard-sys,"
				      "num-queues=1");
	a = line->added->pdata[5];
	assert_non_null(strstr(a->value, "num-queues=4"));
	qemu_line_free(line);
	line = qemu_add_attachments(argv, 0, &attachments, v11, NULL);
	a = line->added->pdata[2];
	assert_non_null(strstr(a->value, ",reconnect-ms=1000"));
	qemu_line_free(line);
	assert_non_null(strstr(paste, " -chardev socket,id=data,path=/c -device "
				      "vhost-user-blk-pci,chardev=data,num-queues=4"));
}

static void test_paste(void **state)
{
	struct attach_config a = {.socket = (char *)"/s,t", .queues = 2};
	g_autofree char *drives = qemu_paste_line(&a), *device = NULL;

	(void)state;
	assert_non_null(strstr(drives, " -chardev socket,id=drives,path=/s,,t -device "
				       "vhost-user-scsi-pci,chardev=drives,num_queues=2"));
	a.kind = ATTACH_VFIO_USER;
	device = qemu_paste_line(&a);
	assert_string_equal(device,
			    "-object memory-backend-memfd,id=mem,size=SIZE,share=on -machine "
			    "memory-backend=mem -device '{\"driver\":\"vfio-user-pci\","
			    "\"socket\":{\"type\":\"unix\",\"path\":\"/s,t\"}}'");
}

static void test_daemonize(void **state)
{
	char *argv[] = {"qemu-system-x86_64", "-daemonize", NULL};
	struct qemu_version v = {7, 2};
	GPtrArray none = {NULL, 0};
	GError *error = NULL;

	(void)state;
	assert_null(qemu_add_attachments(argv, 0, &none, v, &error));
	says(&error, "-daemonize");
}

static int teardown(void **state)
{
	(void)state;
	qemu_memory_fini(&memory);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),        cmocka_unit_test(test_bad_size),
		cmocka_unit_test(test_backends),     cmocka_unit_test(test_plugged),
		cmocka_unit_test(test_find),         cmocka_unit_test(test_version),
		cmocka_unit_test(test_readconfig),   cmocka_unit_test(test_paste),
		cmocka_unit_test(test_virtio_disks), cmocka_unit_test(test_too_old_for_devices),
		cmocka_unit_test(test_added),        cmocka_unit_test(test_daemonize),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
