/*
 * The conversation with a program: its description, requests of ours and their answers, what it
 * wants of the machine.
 */
#include "device/remote_impl.h"
#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void remote_send(struct remote *r, const struct remote_msg *m)
{
	remote_encode(r->out, m, r->decoder.binary);
	remote_link_kick(r);
}

/* ---- Requests of ours ---- */

static struct remote_wait *find_wait(struct remote *r, uint32_t id)
{
	struct remote_wait *w = &r->waits[id % REMOTE_WAITS];

	return id && w->id == id ? w : NULL;
}

/* The next id, whose place is free; NULL: none is. */
static struct remote_wait *new_wait(struct remote *r)
{
	for (unsigned i = 0; i < REMOTE_WAITS; i++) {
		struct remote_wait *w;

		if (!++r->last_id)
			r->last_id = 1;
		w = &r->waits[r->last_id % REMOTE_WAITS];
		if (w->id)
			continue;
		*w = (struct remote_wait){.id = r->last_id, .prev = r->newest};
		if (w->prev)
			w->prev->next = w;
		else
			r->oldest = w;
		r->newest = w;
		return w;
	}
	return NULL;
}

static void free_wait(struct remote *r, struct remote_wait *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		r->oldest = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		r->newest = w->prev;
	w->id = 0;
}

bool remote_ask(struct remote *r, struct remote_msg *m, struct ob_call *call)
{
	struct remote_wait *w = new_wait(r);

	if (!w) {
		remote_broke(r, "has %d requests to answer", REMOTE_WAITS);
		return false;
	}
	w->type = m->type;
	w->bar = m->bar;
	w->width = m->width;
	w->off = m->off;
	w->since_ns = loop_now_ns();
	w->call = call;
	m->id = w->id;
	remote_send(r, m);
	remote_link_limit(r);
	return true;
}

void remote_answer_all(struct remote *r)
{
	while (r->oldest) {
		struct ob_call *call = r->oldest->call;

		free_wait(r, r->oldest);
		if (call)
			ob_finish(r->dev, call, UINT64_MAX);
	}
}

static void take_done(struct remote *r, const struct remote_msg *m)
{
	struct remote_wait *w = find_wait(r, m->id);
	struct ob_call *call;

	if (!w) {
		remote_broke(r, "answers id %" PRIu32 ", which does not wait for an answer", m->id);
		return;
	}
	if (w->type == REMOTE_READ && !m->has_value) {
		remote_broke(r, "answers a read without a value");
		return;
	}
	call = w->call;
	free_wait(r, w);
	if (call)
		ob_finish(r->dev, call, m->has_value ? m->value : 0);
}

/* ---- The start ---- */

static unsigned state_bits(struct ob_dev *dev)
{
	static const unsigned modes[] = {
		[OB_MSI_OFF] = 0, [OB_MSI_ON] = REMOTE_MSI_ON, [OB_MSIX_ON] = REMOTE_MSIX_ON};

	return modes[ob_msi_mode(dev)] | (ob_is_attached(dev) ? REMOTE_ATTACHED : 0) |
	       (ob_can_dma(dev) ? REMOTE_CAN_DMA : 0);
}

void remote_tell_state(struct remote *r)
{
	struct remote_msg m = {.type = REMOTE_STATE, .arg = state_bits(r->dev)};

	if (r->link != REMOTE_UP || (r->has_told && m.arg == r->state_told))
		return;
	r->has_told = true;
	r->state_told = m.arg;
	remote_send(r, &m);
}

void remote_greet(struct remote *r)
{
	struct remote_msg m = {.type = REMOTE_RESET, .arg = REMOTE_RESET_START};

	if (r->link == REMOTE_UP && remote_ask(r, &m, NULL))
		remote_tell_state(r);
}

void remote_take_description(struct remote *r, const char *line, size_t len)
{
	g_autoptr(GError) error = NULL;
	struct remote_desc *d = remote_desc_parse(line, len, &error);

	if (!d) {
		remote_broke(r, "says: %s", error->message);
		return;
	}
	if (r->desc && !remote_desc_is_equal(r->desc, d)) {
		r->is_other = true;
		remote_broke(r, "describes itself otherwise than before");
		remote_desc_free(d);
		return;
	}
	r->decoder.binary = d->binary;
	if (r->desc)
		remote_desc_free(d);
	else
		r->desc = d;
	r->link = REMOTE_UP;
	r->up_since_ns = loop_now_ns();
	if (r->dev)
		remote_greet(r);
	co_queue_wake_all(&r->changed);
}

/* ---- Messages of the program ---- */

static void take_irq(struct remote *r, const struct remote_msg *m)
{
	if (!r->desc->id.intx_pin)
		remote_broke(r, "raises INTx, which it did not describe");
	else if (m->arg)
		ob_irq_raise(r->dev);
	else
		ob_irq_lower(r->dev);
}

static void take_msi(struct remote *r, const struct remote_msg *m)
{
	unsigned n = MAX(r->desc->msi, r->desc->msix);

	if (m->arg >= n)
		remote_broke(r, "sends MSI %" PRIu32 ", it described %u", m->arg, n);
	else if (!r->stopped)
		ob_msi_send(r->dev, m->arg); /* refused where no driver enabled it: it is dropped */
}

void remote_take_message(struct remote *r, const struct remote_msg *m)
{
	static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};

	switch (m->type) {
	case REMOTE_DONE: take_done(r, m); break;
	case REMOTE_IRQ: take_irq(r, m); break;
	case REMOTE_MSI: take_msi(r, m); break;
	case REMOTE_LOG: remote_say(r, levels[m->arg], (const char *)m->data, m->len); break;
	default: remote_take_dma(r, m);
	}
}
