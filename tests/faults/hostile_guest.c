/* SPDX-License-Identifier: MIT */
/**
 * A guest that opens a channel and then writes garbage where the host reads.
 *
 *   hostile_guest tail|call|payload|random|table|idle
 *
 * Exit status 0: the host closed the channel and said so in its table entry (for `table`, where the
 * guest scribbles over memory that only itself relies on: it is still served). 1: it did not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest/channel/transport.h"
#include "protocol/calls.h"
#include "protocol/ring.h"

struct hostile {
    struct vgpu_transport *transport;
    struct vgpu_mailbox_channel channel;
    uint8_t *extent;
    struct vgpu_channel_header *header;
};

static int open_channel(struct hostile *guest)
{
    char message[256];
    if (vgpu_transport_open(&guest->transport, message, sizeof(message)) < 0) {
        fprintf(stderr, "hostile_guest: %s\n", message);
        return -1;
    }
    struct vgpu_mailbox_client request = {
        .request.op = VGPU_MAILBOX_CHANNEL_OPEN,
        .protocol_hash = VGPU_PROTOCOL_HASH,
        .version = VGPU_PROTOCOL_VERSION,
        .process = (uint32_t)getpid(),
        .program = "hostile_guest",
    };
    uint8_t response[VGPU_MAILBOX_BYTES];
    int length = guest->transport->operations->mailbox(guest->transport, &request, sizeof(request),
                                                       response);
    if (length != (int)sizeof(guest->channel))
        return -1;
    memcpy(&guest->channel, response, sizeof(guest->channel));
    if (vgpu_transport_use(guest->transport, guest->channel.offset, guest->channel.size) < 0)
        return -1;
    guest->extent = (uint8_t *)guest->transport->window + guest->channel.offset;
    guest->header = (struct vgpu_channel_header *)guest->extent;
    return 0;
}

/** Puts a record into the ring the way an honest guest would, whatever it says. */
static void put_record(struct hostile *guest, const struct vgpu_call_header *record)
{
    uint8_t *ring = guest->extent + VGPU_CHANNEL_RING_OFFSET;
    uint64_t tail = guest->header->ring.tail;
    memcpy(ring + tail % VGPU_RING_BYTES, record, sizeof(*record));
    __atomic_store_n(&guest->header->ring.tail, tail + 128, __ATOMIC_SEQ_CST);
}

static void attack(struct hostile *guest, const char *how)
{
    if (strcmp(how, "tail") == 0) {
        __atomic_store_n(&guest->header->ring.tail, 0x123456789abcdefull, __ATOMIC_SEQ_CST);
    } else if (strcmp(how, "call") == 0) {
        put_record(guest, &(struct vgpu_call_header){.call = 60000, .sequence = 1});
    } else if (strcmp(how, "payload") == 0) {
        put_record(guest, &(struct vgpu_call_header){.call = VGPU_CALL_vgpuLaunch,
                                                     .payload_bytes = 0xfffffff0u});
    } else if (strcmp(how, "random") == 0) {
        uint8_t *ring = guest->extent + VGPU_CHANNEL_RING_OFFSET;
        for (uint32_t i = 0; i < VGPU_RING_BYTES; i++)
            ring[i] = (uint8_t)rand();
        __atomic_store_n(&guest->header->ring.tail, VGPU_RING_BYTES, __ATOMIC_SEQ_CST);
    } else if (strcmp(how, "table") == 0) {
        memset((uint8_t *)guest->transport->window + VGPU_WINDOW_TABLE_OFFSET, 0xff,
               VGPU_WINDOW_EXTENTS_OFFSET - VGPU_WINDOW_TABLE_OFFSET);
    }
    guest->transport->operations->ring_doorbell(guest->transport, guest->channel.channel);
}

static int wait_for_loss(const struct hostile *guest)
{
    const struct vgpu_channel_entry *entry =
        vgpu_window_entry(guest->transport->window, guest->channel.channel);
    for (int i = 0; i < 1000; i++) {
        if (__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE) == VGPU_CHANNEL_LOST) {
            printf("closed with error %u\n", entry->error);
            return 0;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fprintf(stderr, "hostile_guest: the channel is still open after 10 s\n");
    return 1;
}

static int still_served(struct hostile *guest)
{
    struct vgpu_mailbox_request status = {.op = VGPU_MAILBOX_STATUS};
    uint8_t response[VGPU_MAILBOX_BYTES];
    int length =
        guest->transport->operations->mailbox(guest->transport, &status, sizeof(status), response);
    return length == (int)sizeof(struct vgpu_mailbox_vm_status) ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct hostile guest = {0};
    if (argc != 2 || open_channel(&guest) < 0)
        return 2;
    if (strcmp(argv[1], "idle") == 0)
        pause();
    attack(&guest, argv[1]);
    return strcmp(argv[1], "table") == 0 ? still_served(&guest) : wait_for_loss(&guest);
}
