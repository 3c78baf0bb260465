/*
 * A function's life: made, attached to a host, reset, stopped and started, let go.
 *
 * Order matters in a reset: first the core takes everything out of flight (transfers, mappings,
 * pending messages, the line), then registers are new, then the device hears of it and may start
 * anew.
 */
#include "pci/function_impl.h"

#include <assert.h>
#include <errno.h>

struct pci_function *pci_function_new(struct loop *loop, const char *name,
				      const struct pci_function_ops *ops, void *priv)
{
	struct pci_function *f = g_new0(struct pci_function, 1);

	f->loop = loop;
	f->name = g_strdup(name);
	f->ops = ops;
	f->priv = priv;
	for (unsigned i = 0; i < PCI_REGIONS; i++)
		f->regions[i].bar.fd = -1;
	pci_config_init(&f->config);
	pci_transfers_init(f);
	return f;
}

static void free_regions(struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_REGIONS; i++)
		pci_region_fini(&f->regions[i]);
}

static void free_ops(struct pci_op *op)
{
	while (op) {
		struct pci_op *next = op->next;

		g_free(op);
		op = next;
	}
}

void pci_function_free(struct pci_function *f)
{
	if (!f)
		return;
	assert(!f->host);
	pci_doorbells_free(f);
	free_regions(f);
	free_ops(f->ops_busy);
	free_ops(f->ops_free);
	pci_config_fini(&f->config);
	g_free(f->msix.table);
	g_free(f->msix.pba);
	g_free(f->name);
	pci_transfers_fini(f); /* the last: frees f, when the loop knows its task no more */
}

void *pci_function_priv(const struct pci_function *f)
{
	return f->priv;
}

struct loop *pci_function_loop(const struct pci_function *f)
{
	return f->loop;
}

const char *pci_function_name(const struct pci_function *f)
{
	return f->name;
}

bool pci_function_is_attached(const struct pci_function *f)
{
	return f->host;
}

bool pci_function_can_dma(const struct pci_function *f)
{
	return f->host && pci_is_master(f);
}

const struct pci_bar *pci_function_bar(const struct pci_function *f, unsigned index)
{
	return index < PCI_REGIONS ? &f->regions[index].bar : NULL;
}

bool pci_function_attach(struct pci_function *f, struct pci_host *h, GError **error)
{
	if (f->host)
		return err_set(error, EBUSY, "device %s is in use by another client", f->name);
	f->host = h;
	f->intx_out = false;
	pci_transfers_attach(f);
	pci_intx_update(f);
	pci_msi_flush(f);
	pci_tell_changed(f);
	return true;
}

void pci_function_detach(struct pci_function *f, struct pci_host *h)
{
	if (f->host != h)
		return;
	pci_forget_calls(f);
	pci_transfers_detach(f);
	f->host = NULL;
	f->intx_out = false;
	pci_transfers_cancel(f, -ECANCELED);
	pci_mappings_revoke(f);
	pci_doorbells_close(f);
	if (f->stopped || f->stopping)
		pci_function_start(f);
	pci_tell_changed(f);
}

int pci_function_reset(struct pci_function *f, enum pci_reset kind, struct pci_call *call)
{
	struct pci_frame fr;
	uint64_t ignored;

	if (call) {
		call->f = f;
		call->op = NULL;
		call->kind = CALL_RESET;
	}
	f->intx_level = false;
	pci_transfers_cancel(f, -ECANCELED);
	pci_mappings_revoke(f);
	pci_registers_reset(f);
	if (!f->ops->reset)
		return 0;
	pci_frame_enter(f, &fr, true);
	f->ops->reset(f, kind);
	return pci_frame_leave(f, &fr, call, &ignored) ? PCI_PENDING : 0;
}

void pci_stop_check(struct pci_function *f)
{
	struct pci_call *call = f->stop_call;

	if (!f->stopping || f->stop_op || f->transfers)
		return;
	f->stopping = false;
	f->stopped = true;
	f->stop_call = NULL;
	if (call)
		call->done(call, 0);
}

int pci_function_stop(struct pci_function *f, struct pci_call *call)
{
	struct pci_frame fr;
	uint64_t ignored;

	if (f->stopped)
		return 0;
	call->f = f;
	call->op = NULL;
	if (f->stopping)
		return f->stop_call ? -EBUSY : (f->stop_call = call, PCI_PENDING);
	f->stopping = true;
	if (f->ops->stop) {
		pci_frame_enter(f, &fr, true);
		f->ops->stop(f);
		if (pci_frame_leave(f, &fr, NULL, &ignored))
			f->stop_op = fr.op;
	}
	pci_stop_check(f);
	if (f->stopped)
		return 0;
	f->stop_call = call;
	return PCI_PENDING;
}

void pci_function_start(struct pci_function *f)
{
	struct pci_frame fr;
	uint64_t ignored;

	if (!f->stopped && !f->stopping)
		return;
	f->stopped = f->stopping = false;
	f->stop_op = NULL;
	f->stop_call = NULL;
	if (f->ops->start) {
		pci_frame_enter(f, &fr, false);
		f->ops->start(f);
		pci_frame_leave(f, &fr, NULL, &ignored);
	}
	pci_transfers_kick(f);
	pci_doorbells_start(f);
	pci_msi_flush(f);
}

bool pci_function_is_stopped(const struct pci_function *f)
{
	return f->stopped;
}

struct bounce {
	struct loop_task task;
	void (*fn)(void *arg);
	void *arg;
	struct co *co;
	bool ran;
};

static void run_bounce(struct loop_task *task)
{
	struct bounce *b = (struct bounce *)task;

	b->fn(b->arg);
	b->ran = true;
	co_wake(b->co);
}

co_fn void pci_on_loop_stack(void (*fn)(void *arg), void *arg)
{
	struct bounce b = {.task = {.run = run_bounce}, .fn = fn, .arg = arg, .co = co_self()};

	loop_post(co_loop(), &b.task);
	while (!b.ran)
		co_yield();
}
