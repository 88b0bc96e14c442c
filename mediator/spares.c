/* SPDX-License-Identifier: MIT */
#include "mediator/spares.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "mediator/log.h"
#include "mediator/mediator.h"

#define QUIET_MILLISECONDS 250 /* without a taker, before more are started */
#define FAILURES_COUNTED   8   /* each doubles the pause: up to a minute */

static int vgpu_spares_start(struct vgpu_spares *spares, struct vgpu_worker *worker, bool is_spare)
{
    const struct vgpu_worker_start start = {
        .path = spares->mediator->config.worker,
        .driver = spares->mediator->driver.library,
        .error_output = -1,
        .is_spare = is_spare,
    };

    return vgpu_worker_run(worker, spares->mediator->loop, &start);
}

static void vgpu_spares_refill_later(struct vgpu_spares *spares)
{
    vgpu_timer_start(spares->mediator->loop, &spares->refill,
                     QUIET_MILLISECONDS << spares->failures);
}

static void vgpu_spare_ended(struct vgpu_worker *worker, const struct vgpu_worker_end *end)
{
    struct vgpu_spare *spare = vgpu_container(worker, struct vgpu_spare, worker);
    struct vgpu_spares *spares = spare->spares;
    char what[160];

    vgpu_worker_describe_end(worker, end, what, sizeof(what));
    vgpu_log(VGPU_LOG_WARNING, "a spare worker %s", what);
    vgpu_worker_release(worker);
    spare->runs = false;
    if (spares->failures < FAILURES_COUNTED)
        spares->failures++;
    vgpu_spares_refill_later(spares);
}

static void vgpu_spares_refill(struct vgpu_timer *timer)
{
    struct vgpu_spares *spares = vgpu_container(timer, struct vgpu_spares, refill);

    vgpu_timer_stop(spares->mediator->loop, timer);
    for (uint32_t i = 0; i < spares->mediator->config.spare_workers; i++) {
        struct vgpu_spare *spare = &spares->table[i];

        if (spare->runs)
            continue;
        int error = vgpu_spares_start(spares, &spare->worker, true);
        if (error) {
            vgpu_log(VGPU_LOG_WARNING, "no spare worker can be started: %s", strerror(-error));
            return;
        }
        spare->runs = true;
    }
}

void vgpu_spares_init(struct vgpu_spares *spares, struct vgpu_mediator *mediator)
{
    *spares = (struct vgpu_spares){.mediator = mediator};
    spares->refill.source.fd = -1;
    spares->refill.expired = vgpu_spares_refill;
    for (uint32_t i = 0; i < VGPU_CONFIG_SPARES_MAX; i++) {
        struct vgpu_spare *spare = &spares->table[i];

        vgpu_worker_init(&spare->worker);
        spare->worker.ended = vgpu_spare_ended;
        spare->spares = spares;
    }
}

void vgpu_spares_open(struct vgpu_spares *spares, struct vgpu_worker *first)
{
    struct vgpu_mediator *mediator = spares->mediator;

    if (mediator->config.spare_workers == 0) {
        vgpu_worker_end(first);
        return;
    }
    spares->table[0].runs = vgpu_worker_move(first, &spares->table[0].worker, mediator->loop) == 0;
    vgpu_spares_refill(&spares->refill);
}

/** One whose driver is there already, if possible. */
static struct vgpu_spare *vgpu_spares_choose(struct vgpu_spares *spares)
{
    struct vgpu_spare *chosen = NULL;

    for (uint32_t i = 0; i < VGPU_CONFIG_SPARES_MAX; i++) {
        struct vgpu_spare *spare = &spares->table[i];

        if (!spare->runs || spare->worker.socket.fd < 0)
            continue;
        chosen = spare;
        /* Pairs with the worker's release. */
        if (__atomic_load_n(&spare->worker.page->ready, __ATOMIC_ACQUIRE))
            break;
    }
    return chosen;
}

/** Returns 0 if a spare has become the worker, or -ENOENT. */
static int vgpu_spares_use(struct vgpu_spares *spares, struct vgpu_worker *worker,
                           const struct vgpu_worker_service *service)
{
    struct vgpu_spare *spare = vgpu_spares_choose(spares);

    if (!spare || vgpu_worker_serve(&spare->worker, service) != 0)
        return -ENOENT; /* one that does not listen is about to be reaped */
    spares->failures = 0;
    spare->runs = false;
    return vgpu_worker_move(&spare->worker, worker, spares->mediator->loop);
}

int vgpu_spares_serve(struct vgpu_spares *spares, struct vgpu_worker *worker,
                      const struct vgpu_worker_service *service)
{
    int error = vgpu_spares_use(spares, worker, service);

    if (error) {
        error = vgpu_spares_start(spares, worker, false);
        if (!error)
            error = vgpu_worker_serve(worker, service);
        if (error && worker->page)
            vgpu_worker_end(worker);
    }
    if (spares->mediator->config.spare_workers && !spares->mediator->stopping)
        vgpu_spares_refill_later(spares);
    return error;
}

void vgpu_spares_close(struct vgpu_spares *spares)
{
    vgpu_timer_stop(spares->mediator->loop, &spares->refill);
    for (uint32_t i = 0; i < VGPU_CONFIG_SPARES_MAX; i++) {
        if (spares->table[i].runs)
            vgpu_worker_kill(
                &spares->table[i].worker); /* all of them, before the first is awaited */
    }
    for (uint32_t i = 0; i < VGPU_CONFIG_SPARES_MAX; i++) {
        if (spares->table[i].runs)
            vgpu_worker_end(&spares->table[i].worker);
        spares->table[i].runs = false;
    }
}
