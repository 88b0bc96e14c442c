/* SPDX-License-Identifier: MIT */
/** Verbs about pools. */
#include <errno.h>

#include "mediator/admin/call.h"
#include "mediator/mediator.h"

/** VMs of the pool that are connected, registered or not. */
static uint32_t vgpu_admin_connected(const struct vgpu_mediator *mediator, uint32_t pool)
{
    uint32_t connected = 0;

    for (const struct vgpu_vm *vm = mediator->vms; vm; vm = vm->next)
        connected += vm->sessions && vm->pool == pool;
    return connected;
}

static json_t *vgpu_admin_pool_row(const struct vgpu_mediator *mediator,
                                   const struct vgpu_store_pool *pool)
{
    const char name[] = {(char)pool->name, '\0'};
    json_t *row = json_object();

    vgpu_admin_put_text(row, "pool", name);
    vgpu_admin_put_number(row, "weight", pool->weight);
    vgpu_admin_put_number(row, "registered_vms", pool->members);
    vgpu_admin_put_number(row, "connected_vms", vgpu_admin_connected(mediator, pool->name));
    return row;
}

/** Its weight holds for the VMs that run, when the change was committed. */
static void vgpu_admin_put_pool(struct vgpu_admin_call *call, const struct vgpu_store_pool *pool)
{
    if (vgpu_store_put_pool(call->mediator->store, pool)) {
        vgpu_admin_fail_store(call);
        return;
    }
    call->change = VGPU_ADMIN_PUT_POOL;
    call->pool = *pool;
    call->result = vgpu_admin_pool_row(call->mediator, pool);
}

/** Takes `pool`, which must be there, as the call's target. False after a failure. */
static bool vgpu_admin_take_pool(struct vgpu_admin_call *call, struct vgpu_store_pool *pool)
{
    if (!vgpu_admin_pool(call, &pool->name))
        return false;
    call->target[0] = (char)pool->name;
    return true;
}

static bool vgpu_admin_take_weight(struct vgpu_admin_call *call, struct vgpu_store_pool *pool)
{
    uint64_t weight = VGPU_WEIGHT_DEFAULT;

    if (vgpu_admin_has(call, "weight") &&
        !vgpu_admin_number(call, "weight", 1, VGPU_WEIGHT_MOST, "a number from 1 to 100", &weight))
        return false;
    pool->weight = (uint32_t)weight;
    return true;
}

static void create_pool(struct vgpu_admin_call *call)
{
    struct vgpu_store *store = call->mediator->store;
    struct vgpu_store_pool pool = {0}, there;

    if (!vgpu_admin_take_pool(call, &pool) || !vgpu_admin_take_weight(call, &pool))
        return;
    int error = vgpu_store_find_pool(store, pool.name, &there);
    if (!error)
        vgpu_admin_fail(call, "conflict",
                        "there is a pool %c already; change it with vgpu-admin set-pool-weight",
                        (int)pool.name);
    else if (error != -ENOENT)
        vgpu_admin_fail_store(call);
    else
        vgpu_admin_put_pool(call, &pool);
}

static void vgpu_admin_no_pool(struct vgpu_admin_call *call, const struct vgpu_store_pool *pool)
{
    vgpu_admin_fail(call, "not-found", "there is no pool %c; see vgpu-admin list-pools",
                    (int)pool->name);
}

static void set_pool_weight(struct vgpu_admin_call *call)
{
    struct vgpu_store *store = call->mediator->store;
    struct vgpu_store_pool pool = {0};

    if (!vgpu_admin_take_pool(call, &pool))
        return;
    int error = vgpu_store_find_pool(store, pool.name, &pool);
    if (error == -ENOENT)
        vgpu_admin_no_pool(call, &pool);
    else if (error)
        vgpu_admin_fail_store(call);
    else if (!vgpu_admin_has(call, "weight"))
        vgpu_admin_fail_value(call, "weight", "a number from 1 to 100");
    else if (vgpu_admin_take_weight(call, &pool))
        vgpu_admin_put_pool(call, &pool);
}

static void delete_pool(struct vgpu_admin_call *call)
{
    struct vgpu_store_pool pool = {0};

    if (!vgpu_admin_take_pool(call, &pool))
        return;
    if (pool.name == 'A') {
        vgpu_admin_fail(call, "conflict", "pool A is where VMs are by default, and stays");
        return;
    }
    int error = vgpu_store_remove_pool(call->mediator->store, pool.name);
    if (!error && vgpu_admin_connected(call->mediator, pool.name))
        error = -EBUSY;
    if (error == -ENOENT)
        vgpu_admin_no_pool(call, &pool);
    else if (error == -EBUSY)
        vgpu_admin_fail(call, "conflict",
                        "pool %c has members; move them first: vgpu-admin set-pool (see "
                        "vgpu-admin list-vms)",
                        (int)pool.name);
    else if (error)
        vgpu_admin_fail_store(call);
    call->change = VGPU_ADMIN_PUT_POOL;
    call->pool = (struct vgpu_store_pool){.name = pool.name, .weight = VGPU_WEIGHT_DEFAULT};
}

static void vgpu_admin_list_pool(const struct vgpu_store_pool *pool, void *user)
{
    const struct vgpu_admin_call *call = user;

    json_array_append_new(call->result, vgpu_admin_pool_row(call->mediator, pool));
}

static void list_pools(struct vgpu_admin_call *call)
{
    static const struct vgpu_store_pool only = {.name = 'A', .weight = VGPU_WEIGHT_DEFAULT};

    call->result = json_array();
    if (!call->mediator->store)
        vgpu_admin_list_pool(&only, call);
    else if (vgpu_store_list_pools(call->mediator->store, vgpu_admin_list_pool, call))
        vgpu_admin_fail_store(call);
}

const struct vgpu_admin_verb vgpu_admin_pool_verbs[] = {
    {"create-pool", "pool", create_pool, {"pool", "weight"}},
    {"delete-pool", "pool", delete_pool, {"pool"}},
    {"set-pool-weight", "pool", set_pool_weight, {"pool", "weight"}},
    {"list-pools", NULL, list_pools, {NULL}},
    {NULL, NULL, NULL, {NULL}},
};
