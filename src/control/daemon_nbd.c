/*
 * NBD exports of the daemon's disks.
 *
 * An export that can be written to takes its disk, as a device does. One that cannot shows any
 * disk, also one that a guest writes to: what its readers see is then a disk that changes.
 */
#include "control/daemon_impl.h"

#include "base/err.h"
#include "block/block.h"

bool nbd_claim_disks(struct outboard_daemon *d, GError **error)
{
	for (unsigned i = 0; i < d->config->attachments->len; i++) {
		const struct attach_config *a = d->config->attachments->pdata[i];

		for (unsigned k = 0; a->nbd && !a->nbd->readonly && a->nbd->disks[k]; k++) {
			struct daemon_disk *disk = daemon_find_disk(d, a->nbd->disks[k]);

			if (!block_is_writable(disk->node))
				continue;
			if (disk->shown_at) {
				return err_set(error, EBUSY, "disk '%s' is attached at %s already",
					       disk->config->id, disk->shown_at->socket);
			}
			disk->shown_at = a;
		}
	}
	return true;
}

bool nbd_shows_disk(const struct outboard_daemon *d, const char *id)
{
	return config_nbd_of_disk(d->config, id) != NULL;
}

co_fn bool nbd_start(struct outboard_daemon *d, struct daemon_attachment *da, GError **error)
{
	const struct attach_config *c = da->config;
	const struct nbd_config *n = c->nbd;
	unsigned n_disks = g_strv_length(n->disks);
	g_autofree struct nbd_export_options *exports = g_new0(struct nbd_export_options, n_disks);
	struct nbd_options o = {
		.path = n->host ? NULL : c->socket,
		.host = n->host,
		.port = n->port,
		.exports = exports,
		.n_exports = n_disks,
		.max_clients = c->clients,
		.tls = {.mode = n->tls,
			.creds = n->tls_creds,
			.psk = n->tls_psk,
			.verify_peer = n->tls_verify_peer},
	};

	for (unsigned i = 0; i < n_disks; i++) {
		const struct daemon_disk *disk = daemon_find_disk(d, n->disks[i]);

		exports[i] = (struct nbd_export_options){
			.name = n->export ? n->export : disk->config->id,
			.description = n->description,
			.node = disk->node,
			.readonly = n->readonly,
			.rotational = disk->config->rotational,
		};
	}
	da->nbd = nbd_server_new(d->loop, &o, error);
	return da->nbd;
}
