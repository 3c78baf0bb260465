/*
 * The HBA as bytes, for machines that are saved or move. They stand still then, so no command runs:
 * what PxCI has beyond that has not been fetched, and is fetched where the machine goes on. The
 * core compares the number of ports: that of MSI-X vectors.
 */
#include "device/ahci/ahci.h"

#include <errno.h>

#include "base/bytes.h"

enum { /* bytes of a port's field */
       AT_CLB,
       AT_FB = 8,
       AT_WORDS = 16, /* of words() */
       WORDS = 12,
       AT_KIND = AT_WORDS + 4 * WORDS,
       AT_LAST,
       AT_NEXT,
       AT_FLAGS,
       AT_UNIT,
       PORT_STATE = AT_UNIT + ATA_UNIT_STATE,
};

enum { KIND_NONE, KIND_DISK, KIND_PACKET };

enum {
	FLAG_HALTED = 1 << 0,
	FLAG_IN_SRST = 1 << 1,
	FLAG_SIGNATURE_DUE = 1 << 2,
	FLAG_NOTIFY_DUE = 1 << 3,
};

static void words(struct ahci_port *p, uint32_t *out[WORDS])
{
	uint32_t *all[WORDS] = {&p->is,   &p->ie,   &p->cmd,  &p->tfd, &p->sig,  &p->ssts,
				&p->sctl, &p->serr, &p->sact, &p->ci,  &p->sntf, &p->seen};

	for (unsigned i = 0; i < WORDS; i++)
		out[i] = all[i];
}

static uint8_t kind_of(const struct ahci_port *p)
{
	if (!p->unit)
		return KIND_NONE;
	return ata_unit_is_packet(p->unit) ? KIND_PACKET : KIND_DISK;
}

static void save_port(struct ahci_port *p, uint8_t *state)
{
	uint32_t *w[WORDS];

	words(p, w);
	put_le64(state + AT_CLB, p->clb);
	put_le64(state + AT_FB, p->fb);
	for (unsigned i = 0; i < WORDS; i++)
		put_le32(state + AT_WORDS + (size_t)4 * i, *w[i]);
	state[AT_KIND] = kind_of(p);
	state[AT_LAST] = (uint8_t)p->last;
	state[AT_NEXT] = (uint8_t)p->next;
	state[AT_FLAGS] =
		(uint8_t)((p->halted ? FLAG_HALTED : 0) | (p->in_srst ? FLAG_IN_SRST : 0) |
			  (p->signature_due ? FLAG_SIGNATURE_DUE : 0) |
			  (p->notify_due ? FLAG_NOTIFY_DUE : 0));
	if (p->unit)
		ata_unit_save(p->unit, state + AT_UNIT);
}

/* Only values that the registers can have. */
static void load_port(struct ahci_port *p, const uint8_t *state)
{
	uint32_t *w[WORDS], det;

	words(p, w);
	p->clb = get_le64(state + AT_CLB) & ~(uint64_t)CLB_MASK;
	p->fb = get_le64(state + AT_FB) & ~(uint64_t)FB_MASK;
	for (unsigned i = 0; i < WORDS; i++)
		*w[i] = get_le32(state + AT_WORDS + (size_t)4 * i);
	p->ie &= (uint32_t)IE_MASK;
	p->is &= (uint32_t)IE_MASK;
	p->cmd = CMD_SUD | CMD_POD | (p->cmd & CMD_WRITABLE);
	p->tfd &= 0xffff;
	p->sctl &= SCTL_MASK;
	det = p->sctl & SCTL_DET;
	if (det == DET_OFF)
		p->ssts = SSTS_OFF;
	else
		p->ssts = p->unit && det != DET_RESET ? SSTS_UP : 0;
	if (!(p->cmd & CMD_ST))
		p->ci = p->sact = 0;
	p->last = state[AT_LAST] % AHCI_SLOTS;
	p->next = state[AT_NEXT] % (AHCI_SLOTS + 1);
	p->halted = state[AT_FLAGS] & FLAG_HALTED;
	p->in_srst = state[AT_FLAGS] & FLAG_IN_SRST;
	p->signature_due = p->unit && state[AT_FLAGS] & FLAG_SIGNATURE_DUE;
	p->notify_due = p->unit && state[AT_FLAGS] & FLAG_NOTIFY_DUE;
}

static const char *field_name(unsigned port, char name[8])
{
	g_snprintf(name, 8, "port%u", port);
	return name;
}

int ahci_save(struct ob_dev *dev, struct ob_state *out)
{
	struct ahci *h = dev->state;
	int res = ob_put_u64(dev, out, "ghc", h->ghc);

	if (res == 0)
		res = ob_put_u64(dev, out, "is", h->is);
	for (unsigned i = 0; i < h->n_ports && res == 0; i++) {
		uint8_t state[PORT_STATE] = {0};
		char name[8];

		save_port(h->ports[i], state);
		res = ob_put(dev, out, field_name(i, name), state, sizeof(state));
	}
	return res;
}

static int get_port(struct ob_dev *dev, struct ob_state *in, unsigned n, uint8_t *state)
{
	static const char *const kinds[] = {"nothing", "a disk", "a drive"};
	struct ahci *h = dev->state;
	uint8_t kind = kind_of(h->ports[n]);
	char name[8];
	int res = ob_get(dev, in, field_name(n, name), state, PORT_STATE);

	if (res < 0)
		return ob_error(dev, res, "field %s is missing or has another length", name);
	if (state[AT_KIND] != kind) {
		return ob_error(dev, -EINVAL, "the saved machine had %s on port %u, here is %s",
				state[AT_KIND] <= KIND_PACKET ? kinds[state[AT_KIND]] : "something",
				n, kinds[kind]);
	}
	return 0;
}

int ahci_restore(struct ob_dev *dev, struct ob_state *in, uint32_t version)
{
	struct ahci *h = dev->state;
	uint64_t ghc = 0, is = 0;
	uint8_t states[AHCI_PORTS][PORT_STATE];
	int res = ob_get_u64(dev, in, "ghc", &ghc);

	(void)version;
	if (res == 0)
		res = ob_get_u64(dev, in, "is", &is);
	if (res < 0)
		return ob_error(dev, res, "field ghc or is is missing");
	for (unsigned i = 0; i < h->n_ports && res == 0; i++)
		res = get_port(dev, in, i, states[i]);
	for (unsigned i = 0; i < h->n_ports && res == 0; i++) {
		if (h->ports[i]->unit && !ata_unit_restore(h->ports[i]->unit, states[i] + AT_UNIT))
			res = ob_error(dev, -EINVAL,
				       "the settings of the unit on port %u make no sense", i);
	}
	if (res < 0)
		return res;
	h->ghc = (h->ghc & ~(uint32_t)(GHC_HR | GHC_IE)) | ((uint32_t)ghc & GHC_IE);
	h->is = (uint32_t)is;
	for (unsigned i = 0; i < h->n_ports; i++)
		load_port(h->ports[i], states[i]);
	return 0;
}
