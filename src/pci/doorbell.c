/*
 * Doorbells: registers whose writes reach the device by an eventfd where a VMM can do that
 * (ioeventfd), and as ordinary writes otherwise.
 *
 * A VMM may keep its copy of a descriptor, so they are closed when the host goes and made anew for
 * the next one.
 */
#include "pci/function_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void ring(struct pci_doorbell *d)
{
	struct pci_frame fr;
	uint64_t ignored;

	pci_frame_enter(d->f, &fr, false);
	d->f->ops->doorbell(d->f, d->index);
	pci_frame_leave(d->f, &fr, NULL, &ignored);
}

static void on_event(struct loop_watch *watch, unsigned events)
{
	struct pci_doorbell *d =
		(struct pci_doorbell *)((char *)watch - offsetof(struct pci_doorbell, watch));
	uint64_t count;

	(void)events;
	if (read(d->info.fd, &count, sizeof(count)) != sizeof(count))
		return;
	if (d->f->stopped)
		d->rang = true;
	else
		ring(d);
}

static bool covers(const struct pci_doorbell_info *d, unsigned bar, uint64_t off, unsigned width)
{
	return d->bar == bar && d->off == off && (!d->width || d->width == width);
}

bool pci_function_add_doorbell(struct pci_function *f, const struct pci_doorbell_info *info,
			       unsigned *index, GError **error)
{
	unsigned w = info->width;
	struct pci_doorbell *d;

	if (f->sealed)
		return err_set(error, EBUSY, "declarations are for open()");
	if (info->bar >= PCI_BARS || w > 8 || w & (w - 1) || (w && info->off % w) ||
	    (info->has_match && (!w || (w < 8 && info->match >> 8 * w)))) {
		return err_set(error, EINVAL,
			       "doorbell at %#" PRIx64
			       " in BAR %u: width %u must be 0 (any), 1, 2, 4 or 8, match fit it",
			       info->off, info->bar, w);
	}
	if (f->n_doorbells == PCI_DOORBELLS_MAX)
		return err_set(error, ENOSPC, "more than %d doorbells", PCI_DOORBELLS_MAX);
	for (unsigned i = 0; i < f->n_doorbells; i++) {
		const struct pci_doorbell_info *o = &f->doorbells[i]->info;

		if (o->bar == info->bar && o->off == info->off &&
		    (!(o->has_match && info->has_match) || o->match == info->match))
			return err_set(error, EEXIST, "two doorbells at %#" PRIx64 " in BAR %u",
				       info->off, info->bar);
	}
	d = g_new0(struct pci_doorbell, 1);
	d->f = f;
	d->info = *info;
	d->info.fd = -1;
	d->index = f->n_doorbells;
	f->doorbells = g_renew(struct pci_doorbell *, f->doorbells, f->n_doorbells + 1);
	f->doorbells[f->n_doorbells++] = d;
	*index = d->index;
	return true;
}

bool pci_doorbell_write(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
			unsigned width)
{
	for (unsigned i = 0; i < f->n_doorbells; i++) {
		struct pci_doorbell *d = f->doorbells[i];

		if (!covers(&d->info, bar, off, width) ||
		    (d->info.has_match && d->info.match != value))
			continue;
		ring(d);
		return true;
	}
	return false;
}

unsigned pci_function_doorbells(const struct pci_function *f)
{
	return f->n_doorbells;
}

bool pci_function_doorbell(struct pci_function *f, unsigned i, struct pci_doorbell_info *out)
{
	struct pci_doorbell *d;

	if (i >= f->n_doorbells)
		return false;
	d = f->doorbells[i];
	if (d->info.fd < 0 && f->host) {
		d->info.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (d->info.fd >= 0) {
			d->watch = (struct loop_watch){.ready = on_event, .fd = d->info.fd};
			d->watch.events = POLLIN;
			loop_watch_add(f->loop, &d->watch);
		}
	}
	*out = d->info;
	return true;
}

void pci_doorbells_close(struct pci_function *f)
{
	for (unsigned i = 0; i < f->n_doorbells; i++) {
		struct pci_doorbell *d = f->doorbells[i];

		d->rang = false;
		if (d->info.fd < 0)
			continue;
		loop_watch_remove(&d->watch);
		close(d->info.fd);
		d->info.fd = -1;
	}
}

void pci_doorbells_start(struct pci_function *f)
{
	for (unsigned i = 0; i < f->n_doorbells; i++) {
		struct pci_doorbell *d = f->doorbells[i];

		if (!d->rang)
			continue;
		d->rang = false;
		ring(d);
	}
}

void pci_doorbells_free(struct pci_function *f)
{
	pci_doorbells_close(f);
	for (unsigned i = 0; i < f->n_doorbells; i++)
		g_free(f->doorbells[i]);
	g_free(f->doorbells);
}
