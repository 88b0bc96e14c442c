/* SPDX-License-Identifier: MIT */
/* Running a graph: one task of a stream, which does what the nodes say in an order that they allow.
 * Kernels use all processors each, so there is little to win from running nodes side by side. */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "soft/driver/graph/condition.h"
#include "soft/driver/graph/executable.h"
#include "soft/driver/stream/batch_task.h"
#include "soft/driver/stream/event.h"

/* A node in one launch. */
struct step {
    size_t missing;        /* dependencies that were not done yet */
    struct vgpu_mark mark; /* of a node that waits for an event or records one */
    uint64_t record;       /* the number of that */
    struct run *bodies;
};

struct run {
    const struct vgpu_graph *plan;
    struct step *steps;
    size_t *ready; /* indices of nodes, a ring of as many as there are */
};

struct plan_task {
    struct vgpu_task task;
    struct vgpu_graph *plan; /* with a reference */
    struct run run;
};

/* ---- preparing ---- */

static bool prepare(struct run *run, const struct vgpu_graph *plan, struct vgpu_context *context);

static bool prepare_step(struct step *step, const struct vgpu_node *node,
                         struct vgpu_context *context)
{
    if (node->type == CU_GRAPH_NODE_TYPE_WAIT_EVENT) {
        step->mark = vgpu_event_mark(vgpu_event_of_task(node->task));
        return true;
    }
    if (node->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) {
        step->mark = (struct vgpu_mark){vgpu_timeline_create(context), 1};
        if (!step->mark.stream)
            return false;
        step->record = vgpu_event_record_at(vgpu_event_of_task(node->task), &step->mark);
        return true;
    }
    if (node->body_count == 0)
        return true;
    step->bodies = calloc(node->body_count, sizeof(*step->bodies));
    if (!step->bodies)
        return false;
    for (size_t i = 0; i < node->body_count; i++) {
        if (!prepare(&step->bodies[i], node->bodies[i], context))
            return false;
    }
    return true;
}

/* In the order of the plan, so a node that waits for an event means a record before it. */
static bool prepare(struct run *run, const struct vgpu_graph *plan, struct vgpu_context *context)
{
    run->steps = calloc(plan->count + 1, sizeof(*run->steps));
    run->ready = calloc(plan->count + 1, sizeof(*run->ready));
    if (!run->steps || !run->ready)
        return false;
    run->plan = plan;
    for (size_t i = 0; i < plan->count; i++) {
        if (!prepare_step(&run->steps[i], plan->nodes[i], context))
            return false;
    }
    return true;
}

/* Also lets those go on who wait for records that were not come to. */
static void clean_up(struct run *run)
{
    for (size_t i = 0; run->plan && i < run->plan->count; i++) {
        const struct vgpu_node *node = run->plan->nodes[i];
        struct step *step = &run->steps[i];
        if (node->type == CU_GRAPH_NODE_TYPE_EVENT_RECORD && step->mark.stream)
            vgpu_timeline_reach(step->mark.stream);
        vgpu_object_put(step->mark.stream);
        for (size_t j = 0; step->bodies && j < node->body_count; j++)
            clean_up(&step->bodies[j]);
        free(step->bodies);
    }
    free(run->steps);
    free(run->ready);
}

/* ---- running ---- */

static CUresult run_plan(struct run *run, struct vgpu_context *context);

static void begin_conditions(const struct vgpu_graph *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct vgpu_node *node = plan->nodes[i];
        if (node->condition)
            vgpu_condition_begin(node->condition);
        for (size_t j = 0; j < node->body_count; j++)
            begin_conditions(node->bodies[j]);
    }
}

static CUresult run_conditional(const struct vgpu_node *node, struct step *step,
                                struct vgpu_context *context)
{
    unsigned int value = vgpu_condition_value(node->condition);
    CUresult result = CUDA_SUCCESS;

    switch (node->condition_type) {
    case CU_GRAPH_COND_TYPE_IF:
        if (value)
            return run_plan(&step->bodies[0], context);
        return node->body_count == 2 ? run_plan(&step->bodies[1], context) : CUDA_SUCCESS;
    case CU_GRAPH_COND_TYPE_WHILE:
        while (result == CUDA_SUCCESS && vgpu_condition_value(node->condition)) {
            result = vgpu_context_cancelled(context) ? CUDA_ERROR_CONTEXT_IS_DESTROYED
                                                     : run_plan(&step->bodies[0], context);
        }
        return result;
    default:
        return value < node->body_count ? run_plan(&step->bodies[value], context) : CUDA_SUCCESS;
    }
}

static CUresult run_node(const struct vgpu_node *node, struct step *step,
                         struct vgpu_context *context)
{
    if (node->disabled)
        return CUDA_SUCCESS;
    switch (node->type) {
    case CU_GRAPH_NODE_TYPE_EMPTY:
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT: /* was waited for before */
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return run_plan(&step->bodies[0], context);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return run_conditional(node, step, context);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        vgpu_event_reached(vgpu_event_of_task(node->task), step->record);
        vgpu_timeline_reach(step->mark.stream);
        return CUDA_SUCCESS;
    default:
        return node->task->run(node->task, context);
    }
}

/* False for what something else has to happen first for: other nodes may lead to it. */
static bool may_run(const struct vgpu_node *node, const struct step *step)
{
    if (node->type == CU_GRAPH_NODE_TYPE_WAIT_EVENT)
        return vgpu_mark_reached(&step->mark);
    if (node->type == CU_GRAPH_NODE_TYPE_BATCH_MEM_OP)
        return vgpu_batch_task_is_ready(node->task);
    return true;
}

/* Positions in the ring: from `head` those that are ready, as many as `waiting`. */
struct queue {
    size_t head;
    size_t waiting;
};

static void enqueue(struct run *run, struct queue *queue, size_t index)
{
    run->ready[(queue->head + queue->waiting++) % run->plan->count] = index;
}

static size_t dequeue(struct run *run, struct queue *queue)
{
    size_t index = run->ready[queue->head];

    queue->head = (queue->head + 1) % run->plan->count;
    queue->waiting--;
    return index;
}

static void note_done(struct run *run, struct queue *queue, const struct vgpu_node *node)
{
    for (size_t i = 0; i < node->dependents.count; i++) {
        size_t dependent = node->dependents.list[i].node->index;
        if (--run->steps[dependent].missing == 0)
            enqueue(run, queue, dependent);
    }
}

static CUresult run_plan(struct run *run, struct vgpu_context *context)
{
    const struct timespec pause = {.tv_nsec = 50000};
    const struct vgpu_graph *plan = run->plan;
    struct queue queue = {0};
    size_t held_up = 0; /* in a row */

    for (size_t i = 0; i < plan->count; i++) {
        run->steps[i].missing = plan->nodes[i]->dependencies.count;
        if (run->steps[i].missing == 0)
            enqueue(run, &queue, i);
    }
    while (queue.waiting) {
        size_t index = dequeue(run, &queue);
        CUresult result = vgpu_context_cancelled(context) ? CUDA_ERROR_CONTEXT_IS_DESTROYED
                                                          : vgpu_context_usable(context);
        if (result != CUDA_SUCCESS)
            return result;
        if (!may_run(plan->nodes[index], &run->steps[index])) {
            enqueue(run, &queue, index);
            if (++held_up >= queue.waiting)
                nanosleep(&pause, NULL);
            continue;
        }
        held_up = 0;
        result = run_node(plan->nodes[index], &run->steps[index], context);
        if (result != CUDA_SUCCESS)
            return result;
        note_done(run, &queue, plan->nodes[index]);
    }
    return CUDA_SUCCESS;
}

/* ---- the task ---- */

static CUresult plan_run(struct vgpu_task *task, struct vgpu_context *context)
{
    struct plan_task *launch = (struct plan_task *)task;

    begin_conditions(launch->plan);
    return run_plan(&launch->run, context);
}

static void plan_release(struct vgpu_task *task)
{
    struct plan_task *launch = (struct plan_task *)task;

    clean_up(&launch->run);
    vgpu_object_put(launch->plan);
}

struct vgpu_task *vgpu_plan_task_create(struct vgpu_graph *plan, struct vgpu_context *context)
{
    struct plan_task *launch = calloc(1, sizeof(*launch));

    if (!launch) {
        vgpu_object_put(plan);
        return NULL;
    }
    launch->task = (struct vgpu_task){.run = plan_run, .release = plan_release};
    launch->plan = plan;
    if (!prepare(&launch->run, plan, context)) {
        vgpu_task_put(&launch->task);
        return NULL;
    }
    return &launch->task;
}
