/* outboard device: what devices there are, and what one of them is. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "cli/cli.h"
#include "control/config.h"
#include "device/device.h"
#include "outboard.h"
#include "pci/config.h"

static int run_list(const struct args *a)
{
	const struct ob_class *const *classes = device_classes();
	json_t *list;

	if (!args_has(a, "json")) {
		for (; *classes; classes++)
			printf("%-12s %s\n", (*classes)->name,
			       (*classes)->help ? (*classes)->help : "");
		return cli_finish_output(a, STATUS_DONE);
	}
	list = json_array();
	for (; *classes; classes++)
		json_array_append_new(list, json_pack("{s:s, s:s?}", "name", (*classes)->name,
						      "help", (*classes)->help));
	return cli_print_json(a, json_pack("{s:o}", "devices", list));
}

/* ---- info: everything is read into JSON; the text is made from that ---- */

static const char *const type_names[] = {
	[OB_PROP_BOOL] = "bool", [OB_PROP_UINT] = "uint", [OB_PROP_INT] = "int",
	[OB_PROP_SIZE] = "size", [OB_PROP_TEXT] = "text", [OB_PROP_ENUM] = "enum",
};

/* JSON's integers have a sign: what does not fit is text in hexadecimal. */
static json_t *number_json(const struct ob_prop *p, uint64_t v)
{
	char text[24];

	if (p->type == OB_PROP_INT || v <= INT64_MAX)
		return json_integer((json_int_t)v);
	g_snprintf(text, sizeof(text), "0x%" PRIx64, v);
	return json_string(text);
}

static void add_range(json_t *j, const struct ob_prop *p)
{
	bool any = !p->min && !p->max, is_int = p->type == OB_PROP_INT;

	if (p->type != OB_PROP_UINT && p->type != OB_PROP_SIZE && !is_int)
		return;
	json_object_set_new(j, "min", number_json(p, any && is_int ? (uint64_t)INT64_MIN : p->min));
	json_object_set_new(
		j, "max",
		number_json(p, any ? (is_int ? (uint64_t)INT64_MAX : UINT64_MAX) : p->max));
}

static json_t *default_json(const struct ob_prop *p)
{
	switch (p->type) {
	case OB_PROP_BOOL: return json_boolean(p->def != 0);
	case OB_PROP_TEXT: return p->def_text ? json_string(p->def_text) : json_null();
	case OB_PROP_ENUM:
		return p->def < g_strv_length((char **)p->names) ? json_string(p->names[p->def])
								 : json_null();
	default: return number_json(p, p->def);
	}
}

static json_t *prop_json(const struct ob_prop *p)
{
	bool required = p->flags & OB_PROP_REQUIRED;
	json_t *j = json_pack("{s:s, s:s, s:b, s:s?}", "name", p->name, "type", type_names[p->type],
			      "required", required, "help", p->help);
	json_t *values;

	add_range(j, p);
	if (!required)
		json_object_set_new(j, "default", default_json(p));
	if (p->type != OB_PROP_ENUM)
		return j;
	values = json_array();
	for (unsigned i = 0; p->names[i]; i++)
		json_array_append_new(values, json_string(p->names[i]));
	json_object_set_new(j, "values", values);
	return j;
}

static json_t *bar_json(const struct pci_bar *bar, unsigned index)
{
	json_t *areas = json_array();

	for (unsigned i = 0; i < bar->n_areas; i++) {
		json_array_append_new(areas, json_pack("{s:I, s:I}", "offset",
						       (json_int_t)bar->areas[i].off, "length",
						       (json_int_t)bar->areas[i].len));
	}
	return json_pack("{s:i, s:s, s:I, s:b, s:b, s:o}", "index", (int)index, "kind",
			 index == PCI_ROM          ? "rom"
			 : bar->flags & PCI_BAR_IO ? "io"
						   : "memory",
			 "length", (json_int_t)bar->len, "64bit", (bar->flags & PCI_BAR_64) != 0,
			 "prefetch", (bar->flags & PCI_BAR_PREFETCH) != 0, "areas", areas);
}

static json_t *identity_json(struct pci_function *f)
{
	g_autofree char *ids = NULL, *subsystem = NULL, *class_code = NULL;
	uint8_t c[CFG_FIRST_CAP];

	pci_function_config_read(f, 0, c, sizeof(c));
	ids = g_strdup_printf("%04x:%04x", get_le16(c + CFG_VENDOR), get_le16(c + CFG_DEVICE));
	subsystem = g_strdup_printf("%04x:%04x", get_le16(c + CFG_SUBSYSTEM_VENDOR),
				    get_le16(c + CFG_SUBSYSTEM));
	class_code =
		g_strdup_printf("%02x%02x%02x", c[CFG_CLASS + 2], c[CFG_CLASS + 1], c[CFG_CLASS]);
	return json_pack("{s:s, s:s, s:s, s:i}", "id", ids, "subsystem", subsystem, "class",
			 class_code, "revision", c[CFG_REVISION]);
}

struct look { /* at a device */
	struct device *device;
	json_t *json;
};

/* On the loop's stack, as everything that talks to a function. */
static void look_at(void *arg)
{
	struct look *l = arg;
	struct pci_function *f = device_function(l->device);
	const struct ob_class *cls = device_class(l->device);
	json_t *bars = json_array(), *props = json_array();

	for (unsigned i = 0; i < PCI_REGIONS; i++) {
		const struct pci_bar *bar = pci_function_bar(f, i);

		if (bar->len)
			json_array_append_new(bars, bar_json(bar, i));
	}
	for (unsigned i = 0; i < cls->n_props; i++)
		json_array_append_new(props, prop_json(device_prop(l->device, i)));
	l->json = json_pack("{s:s, s:s?, s:o, s:o, s:{s:i, s:i, s:i}, s:i, s:o}", "name", cls->name,
			    "help", cls->help, "identity", identity_json(f), "bars", bars,
			    "interrupts", "intx", (int)pci_function_vectors(f, PCI_INTX), "msi",
			    (int)pci_function_vectors(f, PCI_MSI), "msix",
			    (int)pci_function_vectors(f, PCI_MSIX), "config_length",
			    (int)pci_function_config_len(f), "properties", props);
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text ? text : "";
}

static long long number_of(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

/* A value as a user would write it: text bare, the rest as JSON has it. */
static char *value_text(const json_t *j, const char *key)
{
	json_t *v = json_object_get(j, key);
	char *text, *copy;

	if (json_is_string(v))
		return g_strdup(json_string_value(v));
	if (json_is_boolean(v))
		return g_strdup(json_is_true(v) ? "on" : "off");
	text = v && !json_is_null(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
	copy = g_strdup(text ? text : "none");
	free(text);
	return copy;
}

static char *values_text(const json_t *p)
{
	const char *type = text_of(p, "type");
	g_autofree char *min = value_text(p, "min"), *max = value_text(p, "max");
	const json_t *values = json_object_get(p, "values"), *v;
	GString *names = g_string_new(NULL);
	size_t i;

	json_array_foreach(values, i, v)
		g_string_append_printf(names, "%s%s", i ? "|" : "", json_string_value(v));
	if (!g_strcmp0(type, "bool"))
		g_string_append(names, "on|off");
	else if (!g_strcmp0(type, "text"))
		g_string_append(names, "TEXT");
	else if (!values)
		g_string_append_printf(names, "%s to %s", min, max);
	return g_string_free(names, FALSE);
}

static void print_prop(const json_t *p)
{
	g_autofree char *values = values_text(p), *def = value_text(p, "default");
	bool required = json_is_true(json_object_get(p, "required"));

	printf("property %s=: %s (%s), %s%s\n", text_of(p, "name"), values, text_of(p, "type"),
	       required ? "required" : "default ", required ? "" : def);
	if (*text_of(p, "help"))
		printf("    %s\n", text_of(p, "help"));
}

static void print_bar(const json_t *b)
{
	const json_t *areas = json_object_get(b, "areas"), *area;
	g_autofree char *size = size_text((uint64_t)number_of(b, "length"));
	size_t i;

	printf("BAR %lld: %s%s%s, %s\n", number_of(b, "index"), text_of(b, "kind"),
	       json_is_true(json_object_get(b, "64bit")) ? ", 64-bit" : "",
	       json_is_true(json_object_get(b, "prefetch")) ? ", prefetchable" : "", size);
	json_array_foreach(areas, i, area)
		printf("    shared memory at 0x%llx, 0x%llx bytes\n", number_of(area, "offset"),
		       number_of(area, "length"));
}

static void print_info(const json_t *j)
{
	const json_t *id = json_object_get(j, "identity"), *irq = json_object_get(j, "interrupts");
	const json_t *entry;
	size_t i;

	printf("%s: %s\n", text_of(j, "name"), text_of(j, "help"));
	printf("PCI %s, subsystem %s, class %s, revision %lld\n", text_of(id, "id"),
	       text_of(id, "subsystem"), text_of(id, "class"), number_of(id, "revision"));
	json_array_foreach(json_object_get(j, "bars"), i, entry) print_bar(entry);
	printf("interrupts: %lld INTx, %lld MSI, %lld MSI-X\n", number_of(irq, "intx"),
	       number_of(irq, "msi"), number_of(irq, "msix"));
	json_array_foreach(json_object_get(j, "properties"), i, entry) print_prop(entry);
}

static co_fn int info_on_loop(const struct args *a, void *arg)
{
	struct device_config *c = arg;
	GError *error = NULL;
	struct look l = {.device = device_new(co_loop(), c->opts, NULL, &error)};

	if (!l.device)
		return cli_failed(a, error);
	pci_on_loop_stack(look_at, &l);
	device_free(l.device);
	if (!l.json) {
		cli_note(a, "the device's own texts are not UTF-8");
		return STATUS_FAILED;
	}
	if (args_has(a, "json"))
		return cli_print_json(a, l.json);
	print_info(l.json);
	json_decref(l.json);
	return cli_finish_output(a, STATUS_DONE);
}

static int run_info(const struct args *a)
{
	struct daemon_config config;
	GError *error = NULL;
	int status;

	config_init(&config);
	status = config_add_device(&config, args_operand(a, 0), &error)
			 ? cli_on_loop(a, info_on_loop, config.devices->pdata[0])
			 : cli_misused(a, error);
	config_fini(&config);
	return status;
}

static const struct cli_option json_only[] = {
	{"json"},
	{NULL},
};

const struct cli_command command_device_list = {
	.name = "device list",
	.options = json_only,
	.operands = "",
	.run = run_list,
};

const struct cli_command command_device_info = {
	.name = "device info",
	.options = json_only,
	.operands = "DEVICE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_info,
};
