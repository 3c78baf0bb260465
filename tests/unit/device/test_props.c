/* Properties, wrong declarations and wrong states: refused by name, with what would be right. */
#include "lab.h"

static const char *const colours[] = {"red", "green", NULL};

static const struct ob_prop props[] = {
	{.size = sizeof(props[0]), .type = OB_PROP_BOOL, .name = "fast", .def = 1},
	{.size = sizeof(props[0]),
	 .type = OB_PROP_UINT,
	 .name = "lanes",
	 .min = 1,
	 .max = 16,
	 .def = 4},
	{.size = sizeof(props[0]),
	 .type = OB_PROP_INT,
	 .name = "offset",
	 .min = (uint64_t)-5,
	 .max = 5},
	{.size = sizeof(props[0]),
	 .type = OB_PROP_SIZE,
	 .name = "memory",
	 .min = 4096,
	 .max = 1 << 20,
	 .def = 8192},
	{.size = sizeof(props[0]), .type = OB_PROP_TEXT, .name = "serial", .def_text = "none"},
	{.size = sizeof(props[0]), .type = OB_PROP_ENUM, .name = "colour", .names = colours},
	{.size = sizeof(props[0]),
	 .type = OB_PROP_UINT,
	 .name = "port",
	 .max = 65535,
	 .flags = OB_PROP_REQUIRED},
};

static int (*opener)(struct ob_dev *dev);

static int on_open(struct ob_dev *dev)
{
	return opener(dev);
}

static const struct ob_class with_props = {
	.size = sizeof(struct ob_class),
	.name = "propped",
	.id = {.vendor = 1, .device = 2},
	.props = props,
	.n_props = G_N_ELEMENTS(props),
	.open = on_open,
};

static int open_defaults(struct ob_dev *dev)
{
	assert_int_equal(ob_prop_number(dev, "fast"), 1);
	assert_int_equal(ob_prop_number(dev, "lanes"), 4);
	assert_int_equal((int64_t)ob_prop_number(dev, "offset"), 0);
	assert_int_equal(ob_prop_number(dev, "memory"), 8192);
	assert_string_equal(ob_prop_text(dev, "serial"), "none");
	assert_string_equal(ob_prop_text(dev, "colour"), "red");
	assert_int_equal(ob_prop_number(dev, "port"), 80);
	assert_int_equal(ob_prop_number(dev, "nothing"), 0);
	assert_null(ob_prop_text(dev, "nothing"));
	return 0;
}

static int open_given(struct ob_dev *dev)
{
	assert_int_equal(ob_prop_number(dev, "fast"), 0);
	assert_int_equal(ob_prop_number(dev, "lanes"), 16);
	assert_int_equal((int64_t)ob_prop_number(dev, "offset"), -5);
	assert_int_equal(ob_prop_number(dev, "memory"), 65536);
	assert_string_equal(ob_prop_text(dev, "serial"), "a,b");
	assert_int_equal(ob_prop_number(dev, "colour"), 1);
	return 0;
}

static void values_co(void *arg)
{
	char *help;

	(void)arg;
	opener = open_defaults;
	device_free(make_device(&with_props, "port=80"));
	opener = open_given;
	device_free(make_device(&with_props, "fast=off,lanes=0x10,offset=-5,memory=64K,"
					     "serial=a,,b,colour=green,port=0"));
	help = device_class_help(&with_props);
	assert_non_null(strstr(help, "lanes=1..16 (4)"));
	assert_non_null(strstr(help, "colour=red|green"));
	assert_non_null(strstr(help, "port=0..65535 (0) required"));
	g_free(help);
}

static void wrong_values_co(void *arg)
{
	static const struct {
		const char *options, *reason;
	} table[] = {
		{"", "option port is required"},
		{"port=65536", "option port=65536: must be a number from 0 to 65535"},
		{"port=1,lanes=0", "option lanes=0: must be a number from 1 to 16"},
		{"port=1,lanes=-1", "option lanes=-1: must be a number from 1 to 16"},
		{"port=1,lanes=4x", "option lanes=4x: must be a number from 1 to 16"},
		{"port=1,offset=6", "option offset=6: must be a number from -5 to 5"},
		{"port=1,offset=-6", "option offset=-6: must be a number from -5 to 5"},
		{"port=1,offset=", "option offset=: must be a number from -5 to 5"},
		{"port=1,memory=4095", "option memory=4095: must be a size from 4"},
		{"port=1,memory=2M", "(4096 to 1048576)"},
		{"port=1,memory=x", "option memory=x: must be a size"},
		{"port=1,fast=maybe", "option fast=maybe: must be on or off"},
		{"port=1,colour=blue", "option colour=blue: must be one of red, green"},
		{"port=1,speed=3", "no option \"speed\" here; known: id, fast, lanes"},
	};

	(void)arg;
	opener = open_given; /* not reached */
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		char *text = refuse_device(&with_props, table[i].options);

		if (!strstr(text, table[i].reason) || !strstr(text, "device propped: "))
			fail_msg("%s: \"%s\" does not say \"%s\"", table[i].options, text,
				 table[i].reason);
		g_free(text);
	}
}

static int bad_bar(struct ob_dev *dev)
{
	ob_add_pm(dev);
	assert_int_equal(lab_bar(dev, 0, 0, 4095), -EINVAL);
	assert_int_equal(lab_bar(dev, 0, 0, 8), -EINVAL);
	assert_int_equal(lab_bar(dev, 0, OB_BAR_IO, 512), -EINVAL);
	assert_int_equal(lab_bar(dev, 0, OB_BAR_IO | OB_BAR_64, 16), -EINVAL);
	assert_int_equal(lab_bar(dev, 5, OB_BAR_64, 4096), -EINVAL);
	assert_int_equal(lab_bar(dev, 7, 0, 4096), -EINVAL);
	assert_int_equal(lab_bar(dev, 0, 0, 1ull << 32), -EINVAL);
	assert_int_equal(lab_bar(dev, 0, OB_BAR_64, 4096), 0);
	assert_int_equal(lab_bar(dev, 1, 0, 4096), -EEXIST);
	return 0; /* the refusal counts all the same */
}

static int bad_msi(struct ob_dev *dev)
{
	assert_int_equal(ob_add_msi(dev, 3, 0), -EINVAL);
	assert_int_equal(ob_add_msi(dev, 64, 0), -EINVAL);
	return 0;
}

static int bad_msix(struct ob_dev *dev)
{
	assert_int_equal(ob_add_msix(dev, 2049, 0, 0, 1, 0), -EINVAL);
	assert_int_equal(ob_add_msix(dev, 4, 0, 4, 1, 0), -EINVAL);
	assert_int_equal(ob_add_msix(dev, 4, 6, 0, 1, 0), -EINVAL);
	assert_int_equal(ob_add_msix(dev, 4, 0, 0, 0, 0x38), -EINVAL);
	return 0;
}

static int msix_outside(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	return ob_add_msix(dev, 4, 0, 4096, 1, 0); /* seen when all is declared */
}

static int bad_area(struct ob_dev *dev)
{
	static const struct ob_area areas[] = {{0, 8192}, {4096, 4096}};
	struct ob_bar bar = {.size = sizeof(bar), .len = 65536, .areas = areas, .n_areas = 2};

	return ob_add_bar(dev, &bar);
}

static int small_bar(struct ob_dev *dev)
{
	struct ob_bar bar = {.size = 8, .len = 65536};

	return ob_add_bar(dev, &bar);
}

static void ring(struct ob_dev *dev, void *arg)
{
	(void)dev;
	(void)arg;
}

static int bad_bell(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	return ob_add_doorbell(dev, 0, 4096, 4, 0, 0, ring, NULL) ? 0 : -1;
}

static int mute_bell(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	return ob_add_doorbell(dev, 0, 0, 4, 0, 0, NULL, NULL) ? 0 : -1;
}

static int bell_twice(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	ob_add_doorbell(dev, 0, 0, 4, 0, 0, ring, NULL);
	ob_add_doorbell(dev, 0, 0, 4, OB_DOORBELL_MATCH, 1, ring, NULL);
	return 0;
}

static int says_why(struct ob_dev *dev)
{
	return ob_error(dev, -EIO, "the %s is missing", "bridge");
}

static int says_nothing(struct ob_dev *dev)
{
	(void)dev;
	return -ENODEV;
}

static int bad_id(struct ob_dev *dev)
{
	const struct ob_identity id = {.vendor = 0xffff};

	return ob_set_identity(dev, &id);
}

static int config_in_header(struct ob_dev *dev)
{
	assert_int_equal(ob_add_config(dev, 0x3f, "\1\2", NULL, 2), -EINVAL);
	return 0;
}

static int config_at_end(struct ob_dev *dev)
{
	assert_int_equal(ob_add_config(dev, 0xff, "\1\2", NULL, 2), -EINVAL);
	assert_int_equal(ob_add_config(dev, UINT_MAX, "\1\2", NULL, 2), -EINVAL);
	assert_int_equal(ob_add_config(dev, 0x40, "", NULL, 0), -EINVAL);
	return 0;
}

static int config_twice(struct ob_dev *dev)
{
	assert_int_equal(ob_add_pm(dev), 0);
	assert_int_equal(ob_add_config(dev, 0x47, "\1", NULL, 1), -EEXIST);
	return 0;
}

static void wrong_declarations_co(void *arg)
{
	static const struct {
		int (*open)(struct ob_dev *dev);
		const char *reason;
	} table[] = {
		{bad_bar, "BAR 0: length 4095, must be a power of two from 16 to 2147483648"},
		{bad_msi, "MSI: 3 vectors, must be 1, 2, 4, 8, 16 or 32"},
		{bad_msix, "MSI-X: 2049 vectors, must be 1 to 2048"},
		{msix_outside, "MSI-X: 0x1000+0x40 does not fit into BAR 0"},
		{bad_area, "BAR 0: area 1 (0x1000+0x1000) must be whole pages"},
		{small_bar, "struct ob_bar says it has 8 bytes"},
		{bad_bell, "doorbell at 0x1000 is not in BAR 0"},
		{mute_bell, "a doorbell without ring()"},
		{bell_twice, "two doorbells at 0 in BAR 0"},
		{says_why, "device lab: the bridge is missing"},
		{says_nothing, "open() failed: No such device"},
		{config_in_header,
		 "registers at 0x3f+0x2 of configuration space: 0x40 to 0xff are free"},
		{config_at_end, "registers at 0xff+0x2 of configuration space"},
		{config_twice, "registers at 0x47+0x1 of configuration space: something is there"},
		{bad_id, "vendor 0xffff means that there is no device"},
	};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		char *text;

		memset(&lab, 0, sizeof(lab));
		lab.open = table[i].open;
		text = refuse_device(&lab_class, NULL);
		if (!strstr(text, table[i].reason))
			fail_msg("\"%s\" does not say \"%s\"", text, table[i].reason);
		assert_int_equal(lab.closes, 1);
		g_free(text);
	}
	lab_begin(NULL);
	assert_int_equal(ob_add_pm(lab.dev), -EBUSY); /* too late */
	assert_int_equal(lab_bar(lab.dev, 3, 0, 4096), -EBUSY);
	lab_end();
}

static void classes_are_checked_co(void *arg)
{
	static const struct ob_prop
		twice[] =
			{
				{.size = sizeof(twice[0]), .type = OB_PROP_BOOL, .name = "a"},
				{.size = sizeof(twice[0]), .type = OB_PROP_BOOL, .name = "a"},
			},
		reserved[] = {{.size = sizeof(twice[0]), .type = OB_PROP_BOOL, .name = "id"}},
		uneven[] = {{.size = sizeof(twice[0]), .type = OB_PROP_BOOL, .name = "a"},
			    {.size = 8, .type = OB_PROP_BOOL, .name = "b"}};
	const struct {
		struct ob_class cls;
		const char *reason;
	} table[] = {
		{{.size = 4}, "at least"},
		{{.size = sizeof(struct ob_class), .open = on_open}, "without a name"},
		{{.size = sizeof(struct ob_class), .name = "x"}, "class x has no open()"},
		{{.size = sizeof(struct ob_class),
		  .name = "x",
		  .open = on_open,
		  .props = twice,
		  .n_props = 2},
		 "two properties a"},
		{{.size = sizeof(struct ob_class),
		  .name = "x",
		  .open = on_open,
		  .props = reserved,
		  .n_props = 1},
		 "\"id\" is no name for a property"},
		{{.size = sizeof(struct ob_class),
		  .name = "x",
		  .open = on_open,
		  .props = uneven,
		  .n_props = 2},
		 "property 1: its size differs"},
		{{.size = sizeof(struct ob_class), .name = "x", .open = on_open, .n_props = 1},
		 "its table of properties makes no sense"},
		{{.size = sizeof(struct ob_class),
		  .name = "x",
		  .open = on_open,
		  .state_size = UINT32_MAX},
		 "a state of 4294967295 bytes"},
	};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		char *text = refuse_device(&table[i].cls, NULL);

		if (!strstr(text, table[i].reason))
			fail_msg("\"%s\" does not say \"%s\"", text, table[i].reason);
		g_free(text);
	}
}

LAB_TEST(values)
LAB_TEST(wrong_values)
LAB_TEST(wrong_declarations)
LAB_TEST(classes_are_checked)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(wrong_values),
		cmocka_unit_test(wrong_declarations),
		cmocka_unit_test(classes_are_checked),
	};

	return RUN_LOOP_TESTS(tests);
}
