# SPDX-License-Identifier: MIT
"""replay.h and replay.c: the worker's bounded decoding and dispatch."""
from generator.description import BANNER

# A replay also needs the id of these.
IDENTIFIED = ("context", "launchable", "user_object", "graph", "node", "exec", "array",
              "texref", "texture", "surface")


def call_struct(call):
    fields = []
    for a in call.arguments:
        if a.handle:
            remark = " /* filled by the replay */" if a.role == "new" else ""
            fields.append(f"    {a.api} {a.name};{remark}")
            if a.role == "new" or a.type in IDENTIFIED:
                fields.append(f"    uint32_t {a.name}_id;")
        elif a.scalar:
            fields.append(f"    {a.wire} {a.name};" + (" /* out */" if a.output else ""))
        elif a.type == "string":
            fields.append(f"    const char *{a.name}; /* NUL-terminated, inside the payload */")
        elif a.reply:
            fields.append(f"    uint8_t *{a.name}; /* out: room for {a.name}_capacity bytes */")
            fields.append(f"    uint32_t {a.name}_capacity;")
            fields.append(f"    uint32_t {a.name}_bytes; /* out */")
        else:
            fields.append(f"    const uint8_t *{a.name};\n    uint32_t {a.name}_bytes;")
    return f"struct vgpu_call_{call.name} {{\n" + "\n".join(fields) + "\n};\n"


def header(calls):
    lines = [BANNER, "#ifndef VGPU_PROTOCOL_REPLAY_H\n#define VGPU_PROTOCOL_REPLAY_H\n",
             "#include <cuda.h>\n#include <stdint.h>\n", '#include "protocol/channel.h"\n',
             "struct vgpu_worker;\n",
             """/**
 * Decodes and replays one record that was copied to private memory. `reply` has room for
 * VGPU_REPLY_PAYLOAD_MAX bytes; *result is complete on return. Returns 0, or -EPROTO if no
 * honest library could have sent this: the channel must be closed.
 */
int vgpu_replay(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                const uint8_t *payload, struct vgpu_result *result, uint8_t *reply);
"""]
    for call in calls:
        if not call.direct:
            lines.append(call_struct(call))
            lines.append(f"CUresult vgpu_replay_{call.name}(struct vgpu_worker *worker, "
                         f"struct vgpu_call_{call.name} *call);\n")
    return "\n".join(lines + ["#endif\n"])


def driver_argument(a):
    if a.output:
        return f"(void *)&call.{a.name}"
    if a.role == "new":
        return f"&call.{a.name}"
    return f"call.{a.name}"


def take_arguments(call):
    out = []
    for a in call.wire_arguments():
        if a.handle:
            out.append(f"    uint32_t {a.name}_id;")
            out.append(f"    memcpy(&{a.name}_id, header->arguments + {a.offset}, 4);")
            if a.role == "new" or a.type in IDENTIFIED:
                out.append(f"    call.{a.name}_id = {a.name}_id;")
        else:
            target = "split" if a is call.split else f"call.{a.name}"
            if a is call.split:
                out.append("    uint32_t split;")
            out.append(f"    memcpy(&{target}, header->arguments + {a.offset}, {a.size});")
    return out


def take_payload(call):
    payloads = [a for a in call.arguments if a.payload]
    if not payloads:
        return ["    if (header->payload_bytes != 0)\n        return -EPROTO;"]
    if len(payloads) == 2:
        first, second = payloads
        return ["    if (split > header->payload_bytes)\n        return -EPROTO;",
                f"    call.{first.name} = payload;\n    call.{first.name}_bytes = split;",
                f"    call.{second.name} = payload + split;\n"
                f"    call.{second.name}_bytes = header->payload_bytes - split;"]
    name = payloads[0].name
    if payloads[0].type == "string":
        return ["    if (header->payload_bytes == 0 || "
                "memchr(payload, 0, header->payload_bytes) !=\n"
                "            payload + header->payload_bytes - 1)\n        return -EPROTO;",
                f"    call.{name} = (const char *)payload;"]
    return [f"    call.{name} = payload;\n    call.{name}_bytes = header->payload_bytes;"]


def prepare(call):
    """Room for what comes of the call, and what its handles stand for."""
    out = []
    for a in call.arguments:
        if a.reply:
            out.append(f"    call.{a.name} = reply;")
            out.append(f"    call.{a.name}_capacity = VGPU_REPLY_PAYLOAD_MAX;")
        if a.role == "new":
            out.append(f"    if (!vgpu_handles_free(worker, {a.name}_id))\n        return -EPROTO;")
    if call.needs_context:
        out.append("    error = vgpu_worker_enter(worker, header->context);")
    for a in call.arguments:
        if a.handle and a.role != "new":
            found = (f"vgpu_worker_stream(worker, {a.name}_id, &call.{a.name})"
                     if a.type == "stream" else
                     f"vgpu_handles_look_up(&worker->handles, VGPU_KIND_{a.type.upper()}, "
                     f"{a.name}_id,\n            (void **)&call.{a.name})")
            out.append(f"    if (error == CUDA_SUCCESS)\n        error = {found};")
    return out


def perform(call):
    if not call.direct:
        return [f"        error = vgpu_replay_{call.name}(worker, &call);"]
    arguments = ", ".join(driver_argument(a) for a in call.arguments)
    function = f"vgpu_worker_driver(worker)->{call.name}"
    return [f"        error = {function} ? {function}({arguments}) :\n"
            "            CUDA_ERROR_NOT_SUPPORTED;"]


def conclude(call):
    out = []
    for a in call.arguments:
        if a.role == "new":
            out.append(f"    if (error == CUDA_SUCCESS)\n        vgpu_handles_add(worker, "
                       f"VGPU_KIND_{a.type.upper()}, {a.name}_id, call.{a.name});")
        if a.role == "drop":
            # Gone even if the driver failed: the guest has given the id up and may use it again.
            out.append(f"    if (call.{a.name} != NULL)")
            out.append(f"        vgpu_handles_remove(worker, {a.name}_id);")
    for i, a in enumerate([a for a in call.arguments if a.output]):
        out.append(f"    memcpy(&result->output[{i}], &call.{a.name}, {a.size});")
    for a in call.arguments:
        if a.reply:
            out.append(f"    result->payload_bytes = call.{a.name}_bytes;")
    return out


def replayer(call):
    out = [call_struct(call)] if call.direct else []
    out.append(f"static int replay_{call.name}(struct vgpu_worker *worker, "
               "const struct vgpu_call_header *header,\n"
               "        const uint8_t *payload, struct vgpu_result *result, uint8_t *reply)\n{")
    # What comes out of it must not be what was there before.
    comes_out = any(a.output or a.reply or a.role in ("new", "drop") for a in call.arguments)
    out.append(f"    struct vgpu_call_{call.name} call{' = {0}' if comes_out else ''};")
    out.append("    CUresult error = CUDA_SUCCESS;")
    out.append("    (void)payload;\n    (void)reply;")
    out += take_arguments(call) + take_payload(call) + prepare(call)
    out.append("    if (error == CUDA_SUCCESS)")
    out += perform(call) + conclude(call)
    out.append("    result->result = error;\n    return 0;\n}\n")
    return "\n".join(out)


def source(calls):
    out = [BANNER, '#include "protocol/replay.h"\n', "#include <errno.h>\n#include <string.h>\n",
           '#include "protocol/calls.h"\n#include "worker/driver.h"\n#include "worker/handles.h"\n'
           '#include "worker/worker.h"\n']
    out += [replayer(c) for c in calls]
    out.append("typedef int replay_function(struct vgpu_worker *, const struct vgpu_call_header *, "
               "const uint8_t *,\n        struct vgpu_result *, uint8_t *);\n")
    out.append("static const struct {\n    replay_function *replay;\n    uint8_t flags;\n"
               "} table[VGPU_CALL_MAX + 1] = {")
    out += [f"    [{c.id}] = {{replay_{c.name}, {'VGPU_CALL_WANTS_REPLY' if c.sync else '0'}}},"
            for c in calls]
    out.append("};\n")
    out.append("""/* Only who waits for a reply can insist on it. */
static bool may_have(uint8_t flags, uint8_t wants)
{
    return flags == wants || (wants && flags == (wants | VGPU_CALL_INSISTS));
}

int vgpu_replay(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                const uint8_t *payload, struct vgpu_result *result, uint8_t *reply)
{
    memset(result, 0, sizeof(*result));
    if (header->call > VGPU_CALL_MAX || table[header->call].replay == NULL ||
        !may_have(header->flags, table[header->call].flags) ||
        header->reply_slot >= VGPU_REPLY_SLOTS)
        return -EPROTO;
    return table[header->call].replay(worker, header, payload, result, reply);
}
""")
    return "\n".join(out)
