/* SPDX-License-Identifier: MIT */
/**
 * Runs in the guest as root, without any driver: the device through sysfs, with fake-mediator at
 * its other end. Asks for a reboot (status 100) in the middle, and knows by the window's contents,
 * which outlive a reset, that it has come back.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "protocol/window.h"
#include "tests/vm/fake_mediator.h"

#define STATUS_REBOOT    100
#define BOOTED_OFFSET    0x12000u /* a word: 1 after the first boot's tests */
#define INTERRUPT_OFFSET 0x13000u /* where vectors are made to write */
#define PATTERN_OFFSET   0x20000u
#define PATTERN_WORDS    1024u
#define BOOTED_MARK      0x600db007u

struct guest {
    char folder[300]; /* the device's in sysfs */
    volatile struct vgpu_registers *registers;
    volatile uint8_t *bar0;
    volatile uint32_t *window;
    volatile struct vgpu_window_header *header;
    uint64_t window_size;
    uint64_t window_address; /* physical */
    uint32_t request_id;
};

static _Noreturn void failed(int line, const char *what)
{
    printf("device-test: line %d: not so: %s\n", line, what);
    exit(1);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            failed(__LINE__, #condition);                                                          \
    } while (0)

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

#define WAIT_FOR(seconds, condition)                                                               \
    do {                                                                                           \
        double until = now() + (seconds);                                                          \
        while (!(condition)) {                                                                     \
            if (now() > until)                                                                     \
                failed(__LINE__, "in time: " #condition);                                          \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

static void done(const char *what)
{
    printf("device-test: ok: %s\n", what);
    fflush(stdout);
}

/* ---- the device in sysfs ---- */

static uint64_t read_number(const struct guest *guest, const char *file)
{
    char path[400], text[64] = "";

    snprintf(path, sizeof(path), "%s/%s", guest->folder, file);
    int descriptor = open(path, O_RDONLY);
    CHECK(descriptor >= 0 && read(descriptor, text, sizeof(text) - 1) > 0);
    close(descriptor);
    return strtoull(text, NULL, 16);
}

static void write_text(const struct guest *guest, const char *file, const char *text)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/%s", guest->folder, file);
    int descriptor = open(path, O_WRONLY);
    CHECK(descriptor >= 0 && write(descriptor, text, strlen(text)) == (ssize_t)strlen(text));
    close(descriptor);
}

static void *map_bar(const struct guest *guest, const char *file, uint64_t *size)
{
    char path[400];
    struct stat status;

    snprintf(path, sizeof(path), "%s/%s", guest->folder, file);
    int descriptor = open(path, O_RDWR);
    CHECK(descriptor >= 0 && fstat(descriptor, &status) == 0);
    *size = (uint64_t)status.st_size;
    void *map = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    CHECK(map != MAP_FAILED);
    close(descriptor);
    return map;
}

static void find_device(struct guest *guest)
{
    static const char bus[] = "/sys/bus/pci/devices";
    DIR *folder = opendir(bus);
    struct dirent *entry;

    CHECK(folder);
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(guest->folder, sizeof(guest->folder), "%s/%s", bus, entry->d_name);
        if (read_number(guest, "vendor") == VGPU_PCI_VENDOR_ID &&
            read_number(guest, "device") == VGPU_PCI_DEVICE_ID) {
            closedir(folder);
            return;
        }
    }
    failed(__LINE__, "the device is on the bus");
}

static void read_window_address(struct guest *guest)
{
    char path[400];
    uint64_t start;

    snprintf(path, sizeof(path), "%s/resource", guest->folder);
    FILE *file = fopen(path, "r");
    CHECK(file && fscanf(file, "%*x %*x %*x %" SCNx64, &start) == 1);
    fclose(file);
    guest->window_address = start;
}

static void open_device(struct guest *guest)
{
    uint64_t size;

    find_device(guest);
    CHECK(read_number(guest, "class") >> 8 == VGPU_PCI_CLASS);
    write_text(guest, "enable", "1");
    guest->bar0 = map_bar(guest, "resource0", &size);
    CHECK(size == VGPU_REGISTERS_SIZE);
    guest->registers = (volatile struct vgpu_registers *)guest->bar0;
    guest->window = map_bar(guest, "resource1_wc", &guest->window_size);
    guest->header = (volatile struct vgpu_window_header *)guest->window;
    read_window_address(guest);
}

/* ---- the mailbox ---- */

static void ring_mailbox(struct guest *guest, const void *request, uint32_t length)
{
    const uint32_t *words = request;

    for (uint32_t i = 0; i < length / 4; i++)
        ((volatile uint32_t *)guest->registers->request)[i] = words[i];
    guest->registers->request_id = ++guest->request_id;
    guest->registers->request_length = length;
    guest->registers->mailbox_doorbell = 1;
}

static bool mailbox_busy(const struct guest *guest)
{
    return guest->registers->status & VGPU_STATUS_MAILBOX_BUSY;
}

/** Waits for the answer to the last request and returns its length. */
static uint32_t take_response(struct guest *guest, void *response, uint32_t room)
{
    uint32_t *words = response;

    WAIT_FOR(20, !mailbox_busy(guest));
    CHECK(guest->registers->error == VGPU_DEVICE_OK);
    CHECK(guest->registers->response_id == guest->request_id);
    for (uint32_t i = 0; i < room / 4; i++)
        words[i] = ((volatile uint32_t *)guest->registers->response)[i];
    return guest->registers->response_length;
}

static void ask(struct guest *guest, enum fake_op op, uint32_t argument)
{
    struct fake_request request = {.request.op = op, .argument = argument};

    ring_mailbox(guest, &request, sizeof(request));
}

static uint64_t call(struct guest *guest, enum fake_op op, uint32_t argument)
{
    struct fake_response response;

    ask(guest, op, argument);
    CHECK(take_response(guest, &response, sizeof(response)) == sizeof(response));
    return response.value;
}

static void wait_for_mediator(struct guest *guest)
{
    WAIT_FOR(20, guest->registers->status & VGPU_STATUS_CONNECTED);
    CHECK(__atomic_load_n(&guest->header->connected, __ATOMIC_ACQUIRE) == 1);
    CHECK(guest->header->generation == guest->registers->generation);
    CHECK(guest->registers->vm_id == FAKE_VM_ID && guest->registers->pool == FAKE_POOL);
    CHECK(guest->registers->priority == VGPU_PRIORITY_HIGH);
}

static void wait_for_next_mediator(struct guest *guest, uint32_t generation)
{
    WAIT_FOR(20, guest->registers->generation != generation);
    CHECK(guest->registers->generation == generation + 1);
    wait_for_mediator(guest);
}

/* ---- the tests ---- */

static void registers_are_as_the_header_says(struct guest *guest)
{
    volatile struct vgpu_registers *registers = guest->registers;

    CHECK(registers->magic == VGPU_MAGIC && registers->version == VGPU_PROTOCOL_VERSION);
    CHECK(registers->features == (VGPU_FEATURE_WINDOW | VGPU_FEATURE_INTERRUPTS));
    CHECK(registers->channel_count == 64 && registers->vector_count == 16);
    CHECK(((uint64_t)registers->window_size_high << 32 | registers->window_size_low) ==
          guest->window_size);
    CHECK(guest->window_size == VGPU_WINDOW_DEFAULT_SIZE);
    CHECK(guest->window_address >= 1ull << 32);
    CHECK(guest->header->magic == VGPU_WINDOW_MAGIC && guest->header->size == guest->window_size);
    CHECK(guest->header->channel_count == 64);
    registers->magic = 0;
    registers->status = ~0u;
    registers->window_size_low = 0;
    CHECK(registers->magic == VGPU_MAGIC && registers->window_size_low == guest->window_size);
    CHECK(registers->mailbox_doorbell == 0);
    done("registers are as the header says");
}

static void mailbox_carries_requests(struct guest *guest)
{
    struct vgpu_mailbox_client client = {.request.op = VGPU_MAILBOX_IDENTIFY};
    struct vgpu_mailbox_identity identity;

    ring_mailbox(guest, &client, sizeof(client));
    CHECK(take_response(guest, &identity, sizeof(identity)) == sizeof(identity));
    CHECK(identity.vm_id == FAKE_VM_ID && strcmp(identity.vm, "blue-whale") == 0);
    CHECK(call(guest, FAKE_DESCRIBE, 0) == (VGPU_PRIORITY_LOW << 8 | 'K'));
    done("the mailbox carries requests");
}

static void bad_lengths_are_refused(struct guest *guest)
{
    static const uint32_t lengths[] = {0, VGPU_MAILBOX_BYTES + 1, UINT32_MAX};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        guest->registers->request_id = ++guest->request_id;
        guest->registers->request_length = lengths[i];
        guest->registers->mailbox_doorbell = 1;
        CHECK(!mailbox_busy(guest));
        CHECK(guest->registers->error == VGPU_DEVICE_BAD_LENGTH);
        CHECK(guest->registers->response_id == guest->request_id);
        CHECK(guest->registers->response_length == 0);
    }
    CHECK(call(guest, FAKE_SUM, FAKE_CALL_OFFSET / 4) == 0);
    done("bad lengths are refused");
}

static void ring(struct guest *guest, uint32_t channel)
{
    *(volatile uint32_t *)(guest->bar0 + VGPU_DOORBELL_OFFSET + 4 * channel) = 1;
}

static void one_request_at_a_time(struct guest *guest)
{
    struct fake_response response;
    uint32_t first;

    ask(guest, FAKE_STALL, 5);
    first = guest->request_id;
    CHECK(mailbox_busy(guest));
    ask(guest, FAKE_SUM, 0);
    CHECK(mailbox_busy(guest) && guest->registers->error == VGPU_DEVICE_BUSY);
    usleep(100000);
    CHECK(mailbox_busy(guest));
    ring(guest, 5);
    guest->request_id = first; /* what is answered is the request that was sent */
    CHECK(take_response(guest, &response, sizeof(response)) == sizeof(response));
    guest->request_id++;
    CHECK(response.value == 1);
    done("one request at a time");
}

static void doorbells_reach_the_host_and_the_window_comes_back(struct guest *guest)
{
    for (uint32_t i = 0; i < 64; i++) {
        volatile uint32_t *answer = &guest->window[FAKE_ANSWER_OFFSET / 4 + i];
        uint32_t value = 0x1000000u * (i + 1) + 77;

        guest->window[FAKE_CALL_OFFSET / 4 + i] = value;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        ring(guest, i);
        WAIT_FOR(10, __atomic_load_n(answer, __ATOMIC_ACQUIRE) == ~value);
    }
    /* The last word is the host's as well. */
    uint64_t last = guest->window_size / 4 - 1024;
    guest->window[last + 1023] = 99;
    CHECK(call(guest, FAKE_SUM, (uint32_t)last) == 99);
    done("doorbells reach the host and the window comes back");
}

static int config_space(const struct guest *guest)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/config", guest->folder);
    int descriptor = open(path, O_RDWR);
    CHECK(descriptor >= 0);
    return descriptor;
}

static uint8_t msix_capability(int config)
{
    uint8_t place = 0, id = 0;

    CHECK(pread(config, &place, 1, 0x34) == 1);
    while (place) {
        CHECK(pread(config, &id, 1, place) == 1);
        if (id == 0x11)
            return place;
        CHECK(pread(config, &place, 1, place + 1) == 1);
    }
    failed(__LINE__, "there is an MSI-X capability");
}

static void update_config(int config, int offset, uint16_t clear, uint16_t set)
{
    uint16_t value;

    CHECK(pread(config, &value, 2, offset) == 2);
    value = (uint16_t)((value & ~clear) | set);
    CHECK(pwrite(config, &value, 2, offset) == 2);
}

static volatile uint32_t *vector_entry(struct guest *guest, uint32_t vector)
{
    return (volatile uint32_t *)(guest->bar0 + VGPU_MSIX_TABLE_OFFSET + 16 * vector);
}

static bool vector_pending(struct guest *guest, uint32_t vector)
{
    return *(volatile uint32_t *)(guest->bar0 + VGPU_MSIX_PENDING_OFFSET) >> vector & 1;
}

/**
 * An MSI is a memory write by the device. Without a driver no vector of the processor is ours, so
 * the vectors are aimed at words of the window. QEMU delivers these; KVM takes MSIs for processors
 * only, so this test is for emulated guests.
 */
static void interrupts_are_raised_masked_and_kept_pending(struct guest *guest)
{
    volatile uint32_t *words = guest->window + INTERRUPT_OFFSET / 4;
    int config = config_space(guest);
    uint8_t capability = msix_capability(config);

    for (uint32_t i = 0; i < 16; i++) {
        uint64_t target = guest->window_address + INTERRUPT_OFFSET + 4 * i;

        words[i] = 0;
        vector_entry(guest, i)[0] = (uint32_t)target;
        vector_entry(guest, i)[1] = (uint32_t)(target >> 32);
        vector_entry(guest, i)[2] = 0xbeef0000u + i;
        vector_entry(guest, i)[3] = 0;
    }
    update_config(config, 4, 0, 4); /* bus master */
    update_config(config, capability + 2, 0, 0x8000);
    for (uint32_t i = 0; i < 16; i++) {
        CHECK(words[i] == 0);
        call(guest, FAKE_RAISE, i);
        WAIT_FOR(10, words[i] == 0xbeef0000u + i);
    }
    words[3] = 0;
    vector_entry(guest, 3)[3] = 1;
    call(guest, FAKE_RAISE, 3);
    WAIT_FOR(10, vector_pending(guest, 3));
    CHECK(words[3] == 0 && !vector_pending(guest, 2));
    vector_entry(guest, 3)[3] = 0;
    WAIT_FOR(10, words[3] == 0xbeef0003u);
    CHECK(!vector_pending(guest, 3));

    words[3] = 0;
    update_config(config, capability + 2, 0x8000, 0);
    call(guest, FAKE_RAISE, 3);
    usleep(100000);
    CHECK(words[3] == 0);
    close(config);
    done("interrupts are raised, masked and kept pending");
}

static bool emulated(void)
{
    char line[1024] = "";
    int descriptor = open("/proc/cmdline", O_RDONLY);

    CHECK(descriptor >= 0 && read(descriptor, line, sizeof(line) - 1) > 0);
    close(descriptor);
    return strstr(line, "vgpu_accelerator=tcg");
}

static void any_access_is_survived(struct guest *guest)
{
    for (uint32_t i = 0; i < VGPU_MSIX_TABLE_OFFSET; i++) {
        (void)*(volatile uint8_t *)(guest->bar0 + i);
        (void)*(volatile uint16_t *)(guest->bar0 + (i & ~1u));
        (void)*(volatile uint64_t *)(guest->bar0 + (i & ~7u));
        if (i % 64 == 0 && i + 9 < VGPU_MSIX_TABLE_OFFSET)
            (void)*(volatile uint64_t *)(guest->bar0 + i + 1);
    }
    for (uint32_t i = 0; i < 0xc00; i++)
        if ((i & ~7u) != 0x30) /* the mailbox doorbell is a test of its own */
            guest->bar0[i] = (uint8_t)i;
    for (uint32_t i = 0x400; i < 0x1000; i += 8)
        *(volatile uint64_t *)(guest->bar0 + i) = ~0ull;
    for (uint32_t i = 0; i < 64; i++) {
        guest->bar0[VGPU_DOORBELL_OFFSET + 4 * i] = 1;
        *(volatile uint64_t *)(guest->bar0 + VGPU_DOORBELL_OFFSET + 8 * (i / 2)) = 1;
        *(volatile uint32_t *)(guest->bar0 + VGPU_DOORBELL_OFFSET + 256 + 4 * i) = 1;
    }
    CHECK(guest->registers->magic == VGPU_MAGIC);
    CHECK(call(guest, FAKE_DESCRIBE, 0) == (VGPU_PRIORITY_LOW << 8 | 'K'));
    done("any access is survived");
}

static void a_mediator_that_reads_nothing_blocks_nothing(struct guest *guest)
{
    struct fake_response response;

    ask(guest, FAKE_FREEZE, 3000);
    double start = now();
    for (uint32_t i = 0; i < 20000; i++) {
        ring(guest, i % 64);
        guest->registers->mailbox_doorbell = 1;
    }
    CHECK(mailbox_busy(guest) && now() - start < 2.5);
    CHECK(take_response(guest, &response, sizeof(response)) == sizeof(response));
    done("a mediator that reads nothing blocks nothing");
}

static void a_mediator_that_dies_is_replaced(struct guest *guest)
{
    uint32_t generation = guest->registers->generation;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < PATTERN_WORDS; i++) {
        guest->window[PATTERN_OFFSET / 4 + i] = i * 2654435761u;
        sum += i * 2654435761u;
    }
    CHECK(call(guest, FAKE_SUM, PATTERN_OFFSET / 4) == sum);

    ask(guest, FAKE_DIE, 0);
    WAIT_FOR(10, !mailbox_busy(guest));
    CHECK(guest->registers->error == VGPU_DEVICE_AWAY);
    CHECK(guest->registers->response_id == guest->request_id);
    CHECK(guest->registers->response_length == 0);
    CHECK(!(guest->registers->status & VGPU_STATUS_CONNECTED));
    CHECK(__atomic_load_n(&guest->header->connected, __ATOMIC_ACQUIRE) == 0);
    CHECK(guest->registers->generation == generation);

    ask(guest, FAKE_SUM, 0);
    CHECK(!mailbox_busy(guest) && guest->registers->error == VGPU_DEVICE_AWAY);
    ring(guest, 7); /* nobody is there: kept for the next one */

    wait_for_next_mediator(guest, generation);
    CHECK(call(guest, FAKE_SUM, PATTERN_OFFSET / 4) == sum);
    doorbells_reach_the_host_and_the_window_comes_back(guest);
    done("a mediator that dies is replaced");
}

static void nonsense_ends_the_connection_only(struct guest *guest)
{
    for (uint32_t kind = 0; kind < FAKE_GARBAGE_KINDS; kind++) {
        uint32_t generation = guest->registers->generation;

        ask(guest, FAKE_GARBAGE, kind);
        WAIT_FOR(10, !(guest->registers->status & VGPU_STATUS_CONNECTED));
        CHECK(!mailbox_busy(guest));
        wait_for_next_mediator(guest, generation);
        CHECK(call(guest, FAKE_DESCRIBE, 0) == (VGPU_PRIORITY_LOW << 8 | 'K'));
    }
    done("nonsense ends the connection only");
}

static void a_refusal_is_shown_and_taken_back(struct guest *guest)
{
    uint32_t generation = guest->registers->generation;

    ask(guest, FAKE_REFUSE, 0);
    WAIT_FOR(10, guest->registers->status & VGPU_STATUS_REFUSED);
    CHECK(!(guest->registers->status & VGPU_STATUS_CONNECTED));
    CHECK(guest->registers->generation == generation);
    wait_for_next_mediator(guest, generation);
    CHECK(!(guest->registers->status & VGPU_STATUS_REFUSED));
    done("a refusal is shown and taken back");
}

/** The guest may write what it likes into the window; the device does not believe it. */
static void a_scribbled_header_is_written_anew(struct guest *guest)
{
    uint32_t generation = guest->registers->generation;

    for (uint32_t i = 0; i < VGPU_WINDOW_EXTENTS_OFFSET / 4; i++)
        guest->window[i] = 0xffffffff;
    ask(guest, FAKE_DIE, 0);
    wait_for_next_mediator(guest, generation);
    CHECK(guest->header->magic == VGPU_WINDOW_MAGIC && guest->header->size == guest->window_size);
    done("a scribbled header is written anew");
}

static void after_a_reset_the_device_is_new_and_the_mediator_another(struct guest *guest)
{
    CHECK(guest->registers->generation > guest->window[BOOTED_OFFSET / 4 + 1]);
    CHECK(!mailbox_busy(guest) && guest->registers->error == VGPU_DEVICE_OK);
    CHECK(guest->registers->request_length == 0 && guest->registers->response_id == 0);
    CHECK(call(guest, FAKE_DESCRIBE, 0) == (VGPU_PRIORITY_LOW << 8 | 'K'));
    if (emulated())
        interrupts_are_raised_masked_and_kept_pending(guest);
    done("after a reset the device is new and the mediator another");
}

int main(void)
{
    static struct guest guest;

    open_device(&guest);
    wait_for_mediator(&guest);
    if (guest.window[BOOTED_OFFSET / 4] == BOOTED_MARK) {
        after_a_reset_the_device_is_new_and_the_mediator_another(&guest);
        return 0;
    }
    registers_are_as_the_header_says(&guest);
    mailbox_carries_requests(&guest);
    bad_lengths_are_refused(&guest);
    one_request_at_a_time(&guest);
    doorbells_reach_the_host_and_the_window_comes_back(&guest);
    if (emulated())
        interrupts_are_raised_masked_and_kept_pending(&guest);
    any_access_is_survived(&guest);
    a_mediator_that_reads_nothing_blocks_nothing(&guest);
    a_mediator_that_dies_is_replaced(&guest);
    nonsense_ends_the_connection_only(&guest);
    a_refusal_is_shown_and_taken_back(&guest);
    a_scribbled_header_is_written_anew(&guest);

    guest.window[BOOTED_OFFSET / 4 + 1] = guest.registers->generation;
    guest.window[BOOTED_OFFSET / 4] = BOOTED_MARK;
    ask(&guest, FAKE_STALL, 0); /* a reset finds the mailbox busy */
    return STATUS_REBOOT;
}
