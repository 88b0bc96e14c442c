#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes C from protocol/calls: see the comment there for the language.

usage: generate.py PROTOCOL_DIR OUT_DIR
Writes calls.h calls.c (ids, names, hash), send.h send.c (guest), replay.h replay.c (worker).
"""
import hashlib
import os
import re
import sys

SCALARS = {  # type: (wire C type, bytes, Driver API C type)
    "u8": ("uint32_t", 4, "unsigned char"),
    "u16": ("uint32_t", 4, "unsigned short"),
    "u32": ("uint32_t", 4, "unsigned int"),
    "i32": ("int32_t", 4, "int"),
    "f32": ("float", 4, "float"),
    "u64": ("uint64_t", 8, "unsigned long long"),
    "size": ("uint64_t", 8, "size_t"),
    "dptr": ("uint64_t", 8, "CUdeviceptr"),
}
KINDS = {  # kind: Driver API C type; `launchable` is a function or a kernel
    "context": "CUcontext", "stream": "CUstream", "event": "CUevent", "module": "CUmodule",
    "function": "CUfunction", "library": "CUlibrary", "kernel": "CUkernel",
    "launchable": "CUfunction",
}
HASHED_HEADERS = ["registers.h", "mailbox.h", "window.h", "channel.h", "info.h"]
ARGUMENT_BYTES = 64


class Argument:
    def __init__(self, text):
        words = text.split()
        self.name = words[-1]
        self.type = words[-2]
        self.role = words[0] if len(words) == 3 else "in"
        if self.role not in ("in", "out", "new", "drop"):
            sys.exit(f"protocol/calls: '{text}': the role is in, out, new or drop")
        if not (self.type in SCALARS or self.type in KINDS or self.type in ("bytes", "string")):
            sys.exit(f"protocol/calls: '{text}': unknown type")

    scalar = property(lambda self: self.type in SCALARS)
    handle = property(lambda self: self.type in KINDS)
    packed = property(lambda self: self.role != "out" and (self.scalar or self.handle))
    output = property(lambda self: self.role == "out" and self.scalar)
    payload = property(lambda self: self.role == "in" and self.type in ("bytes", "string"))
    reply = property(lambda self: self.role == "out" and self.type == "bytes")
    wire = property(lambda self: "uint32_t" if self.handle else SCALARS[self.type][0])
    size = property(lambda self: 4 if self.handle else SCALARS[self.type][1])
    api = property(lambda self: KINDS[self.type] if self.handle else SCALARS[self.type][2])


class Call:
    def __init__(self, line):
        match = re.fullmatch(r"(\d+)\s+(\w+)\s+(sync|async)([\w\s-]*?)\s*:\s*(.*)", line)
        if not match:
            sys.exit(f"protocol/calls: cannot read '{line}'")
        self.id, self.name, self.kind = int(match[1]), match[2], match[3]
        self.words = match[4].split()
        self.arguments = [Argument(part.strip()) for part in match[5].split(",")]
        offset = 0
        payloads = [a for a in self.arguments if a.payload]
        if len(payloads) == 2:  # where the first ends
            self.split = Argument(f"u32 {payloads[0].name}_bytes")
        else:
            self.split = None
        for argument in self.wire_arguments():
            offset = (offset + argument.size - 1) // argument.size * argument.size
            argument.offset = offset
            offset += argument.size
        if offset > ARGUMENT_BYTES:
            sys.exit(f"protocol/calls: {self.name}: {offset} bytes of arguments, {ARGUMENT_BYTES} fit")
        if sum(a.output for a in self.arguments) > 4 or len(payloads) > 2:
            sys.exit(f"protocol/calls: {self.name}: too many outputs or payloads")
        if self.kind == "async" and any(a.role == "out" for a in self.arguments):
            sys.exit(f"protocol/calls: {self.name}: an asynchronous call has no outputs")

    def wire_arguments(self):
        return [a for a in self.arguments if a.packed] + ([self.split] if self.split else [])

    sync = property(lambda self: self.kind == "sync")
    direct = property(lambda self: "direct" in self.words)
    needs_context = property(lambda self: "no-context" not in self.words)


def read_calls(directory):
    calls = []
    with open(os.path.join(directory, "calls"), encoding="utf-8") as source:
        for line in source:
            line = line.split("#")[0].strip()
            if line:
                calls.append(Call(line))
    for key in ("id", "name"):
        seen = [getattr(call, key) for call in calls]
        for value in seen:
            if seen.count(value) > 1:
                sys.exit(f"protocol/calls: {key} {value} is used twice")
    check_ids(directory, calls)
    return calls


def check_ids(directory, calls):
    """Ids are frozen: protocol/call-ids lists every one ever given; new ones must be added there."""
    with open(os.path.join(directory, "call-ids"), encoding="utf-8") as source:
        frozen = dict(reversed(line.split()) for line in source if line.strip())
    by_id = {int(number): name for name, number in frozen.items()}
    for call in calls:
        if by_id.get(call.id) != call.name:
            sys.exit(f"protocol/calls: {call.id} {call.name} is not what protocol/call-ids says "
                     f"({call.id} {by_id.get(call.id, 'is not given yet: add it')})")


def protocol_hash(directory, calls):
    digest = hashlib.sha256()
    for call in calls:
        words = [f"{a.role} {a.type}" for a in call.arguments]
        digest.update(f"{call.id} {call.name} {call.kind} {','.join(words)}\n".encode())
    for name in HASHED_HEADERS:
        with open(os.path.join(directory, name), encoding="utf-8") as source:
            text = re.sub(r"/\*.*?\*/", "", source.read(), flags=re.S)
        digest.update(" ".join(text.split()).encode())
    return digest.hexdigest()[:16]


BANNER = "/* Made by protocol/generate.py from protocol/calls. */\n"


def calls_header(calls, value):
    lines = [BANNER, "#ifndef VGPU_PROTOCOL_CALLS_H\n#define VGPU_PROTOCOL_CALLS_H\n",
             "#include <stdint.h>\n",
             f"#define VGPU_PROTOCOL_HASH 0x{value}ull\n",
             "enum vgpu_call {"]
    lines += [f"    VGPU_CALL_{c.name} = {c.id}," for c in calls]
    lines += ["};\n", f"#define VGPU_CALL_MAX {max(c.id for c in calls)}u\n",
              "/** Kinds of handle; ids of one channel share one space, whatever their kind. */",
              "enum vgpu_kind {\n    VGPU_KIND_NONE,"]
    lines += [f"    VGPU_KIND_{k.upper()}," for k in KINDS]
    lines += ["};\n",
              "/** Handle ids below this are fixed: stream 0 and 1 are the legacy default stream. */",
              "#define VGPU_HANDLE_FIRST 16u",
              "#define VGPU_HANDLE_MAX (1u << 20)\n",
              "/** Name of a call, or NULL if there is none with this id. */",
              "const char *vgpu_call_name(uint32_t call);\n", "#endif\n"]
    return "\n".join(lines)


def calls_source(calls):
    lines = [BANNER, '#include "protocol/calls.h"\n\n#include <stddef.h>\n',
             "static const char *const names[VGPU_CALL_MAX + 1] = {"]
    lines += [f'    [{c.id}] = "{c.name}",' for c in calls]
    lines += ["};\n", "const char *vgpu_call_name(uint32_t call)\n{",
              "    return call <= VGPU_CALL_MAX ? names[call] : NULL;\n}\n"]
    return "\n".join(lines)


def sender_parameters(call):
    parts = ["struct vgpu_channel *channel", "uint32_t current"]
    for a in call.arguments:
        if a.packed:
            parts.append(f"{a.wire} {a.name}")
        elif a.output:
            parts.append(f"{a.wire} *{a.name}")
        elif a.type == "string":
            parts.append(f"const char *{a.name}")
        elif a.payload:
            parts += [f"const void *{a.name}", f"size_t {a.name}_bytes"]
        elif a.reply:
            parts += [f"void *{a.name}", f"size_t {a.name}_capacity", f"size_t *{a.name}_bytes"]
    return ", ".join(parts)


def send_header(calls):
    lines = [BANNER, "/**\n * One sender per call; `current` is the id of the context to be current for it.\n"
             " * Asynchronous ones return once the record is in the ring;\n"
             " * synchronous ones wait for the reply and return its CUresult. Outputs are written\n"
             " * only with CUDA_SUCCESS, except reply payloads (logs), which are always written.\n */",
             "#ifndef VGPU_PROTOCOL_SEND_H\n#define VGPU_PROTOCOL_SEND_H\n",
             "#include <cuda.h>\n#include <stddef.h>\n#include <stdint.h>\n",
             "struct vgpu_channel;\n"]
    lines += [f"CUresult vgpu_send_{c.name}({sender_parameters(c)});" for c in calls]
    return "\n".join(lines + ["\n#endif\n"])


def sender(call):
    out = [f"CUresult vgpu_send_{call.name}({sender_parameters(call)})\n{{"]
    flags = "VGPU_CALL_WANTS_REPLY" if call.sync else "0"
    out.append(f"    struct vgpu_call_header header = {{.call = VGPU_CALL_{call.name}, "
               f".flags = {flags}, .context = current}};")
    payloads = [a for a in call.arguments if a.payload]
    parts = []
    for a in payloads:
        if a.type == "string":
            out.append(f"    size_t {a.name}_bytes = strlen({a.name}) + 1;")
        parts += [a.name, f"{a.name}_bytes"]
    total = " + ".join(f"{a.name}_bytes" for a in payloads)
    if payloads:
        out.append(f"    if ({total} > VGPU_PAYLOAD_MAX)\n        return CUDA_ERROR_INVALID_VALUE;")
        out.append(f"    header.payload_bytes = (uint32_t)({total});")
    if call.split:
        out.append(f"    uint32_t split = (uint32_t){call.split.name};")
    for a in call.wire_arguments():
        source = "split" if a is call.split else a.name
        out.append(f"    memcpy(header.arguments + {a.offset}, &{source}, {a.size});")
    parts = (parts + ["NULL", "0", "NULL", "0"])[:4]
    if not call.sync:
        out.append(f"    return vgpu_channel_post(channel, &header, {', '.join(parts)});\n}}\n")
        return "\n".join(out)
    reply = next((a.name for a in call.arguments if a.reply), None)
    reply_parts = [reply, f"{reply}_capacity", f"{reply}_bytes"] if reply else ["NULL", "0", "NULL"]
    out.append("    struct vgpu_result result;")
    out.append(f"    CUresult error = vgpu_channel_call(channel, &header, {', '.join(parts)}, &result, "
               f"{', '.join(reply_parts)});")
    outputs = [a for a in call.arguments if a.output]
    if outputs:
        out.append("    if (error == CUDA_SUCCESS) {")
        out += [f"        memcpy({a.name}, &result.output[{i}], {a.size});" for i, a in enumerate(outputs)]
        out.append("    }")
    out.append("    return error;\n}\n")
    return "\n".join(out)


def send_source(calls):
    return "\n".join([BANNER, '#include "protocol/send.h"\n\n#include <string.h>\n',
                      '#include "guest/channel.h"\n#include "protocol/calls.h"\n'] +
                     [sender(c) for c in calls])


def call_struct(call):
    fields = []
    for a in call.arguments:
        if a.handle:
            fields.append(f"    {a.api} {a.name};" + (" /* filled by the replay */" if a.role == "new" else ""))
            if a.role == "new" or a.type == "context" or a.type == "launchable":
                fields.append(f"    uint32_t {a.name}_id;")
        elif a.scalar:
            fields.append(f"    {a.wire} {a.name};" + (" /* out */" if a.output else ""))
        elif a.type == "string":
            fields.append(f"    const char *{a.name}; /* NUL-terminated, inside the payload */")
        elif a.reply:
            fields.append(f"    uint8_t *{a.name}; /* out: room for {a.name}_capacity bytes */")
            fields.append(f"    uint32_t {a.name}_capacity;\n    uint32_t {a.name}_bytes; /* out */")
        else:
            fields.append(f"    const uint8_t *{a.name};\n    uint32_t {a.name}_bytes;")
    return f"struct vgpu_call_{call.name} {{\n" + "\n".join(fields) + "\n};\n"


def replay_header(calls):
    lines = [BANNER, "#ifndef VGPU_PROTOCOL_REPLAY_H\n#define VGPU_PROTOCOL_REPLAY_H\n",
             "#include <cuda.h>\n#include <stdint.h>\n", '#include "protocol/channel.h"\n',
             "struct vgpu_worker;\n",
             "/**\n * Decodes and replays one record that was copied to private memory. `reply` has room for\n"
             " * VGPU_REPLY_PAYLOAD_MAX bytes; *result is complete on return. Returns 0, or -EPROTO if no\n"
             " * honest library could have sent this: the channel must be closed.\n */",
             "int vgpu_replay(struct vgpu_worker *worker, const struct vgpu_call_header *header,\n"
             "                const uint8_t *payload, struct vgpu_result *result, uint8_t *reply);\n"]
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


def replayer(call):
    out = []
    if call.direct:
        out.append(call_struct(call))
    out.append(f"static int replay_{call.name}(struct vgpu_worker *worker, const struct vgpu_call_header *header,\n"
               "        const uint8_t *payload, struct vgpu_result *result, uint8_t *reply)\n{")
    out.append(f"    struct vgpu_call_{call.name} call = {{0}};\n    CUresult error = CUDA_SUCCESS;")
    out.append("    (void)payload;\n    (void)reply;")
    for a in call.wire_arguments():
        if a.handle:
            out.append(f"    uint32_t {a.name}_id;\n    memcpy(&{a.name}_id, header->arguments + {a.offset}, 4);")
            if a.role == "new" or a.type in ("context", "launchable"):
                out.append(f"    call.{a.name}_id = {a.name}_id;")
        else:
            target = "split" if a is call.split else f"call.{a.name}"
            if a is call.split:
                out.append("    uint32_t split;")
            out.append(f"    memcpy(&{target}, header->arguments + {a.offset}, {a.size});")
    payloads = [a for a in call.arguments if a.payload]
    if not payloads:
        out.append("    if (header->payload_bytes != 0)\n        return -EPROTO;")
    elif len(payloads) == 2:
        first, second = payloads
        out.append("    if (split > header->payload_bytes)\n        return -EPROTO;")
        out.append(f"    call.{first.name} = payload;\n    call.{first.name}_bytes = split;")
        out.append(f"    call.{second.name} = payload + split;\n"
                   f"    call.{second.name}_bytes = header->payload_bytes - split;")
    elif payloads[0].type == "string":
        out.append("    if (header->payload_bytes == 0 || memchr(payload, 0, header->payload_bytes) !=\n"
                   "            payload + header->payload_bytes - 1)\n        return -EPROTO;")
        out.append(f"    call.{payloads[0].name} = (const char *)payload;")
    else:
        out.append(f"    call.{payloads[0].name} = payload;\n"
                   f"    call.{payloads[0].name}_bytes = header->payload_bytes;")
    for a in call.arguments:
        if a.reply:
            out.append(f"    call.{a.name} = reply;\n    call.{a.name}_capacity = VGPU_REPLY_PAYLOAD_MAX;")
        if a.role == "new":
            out.append(f"    if (!vgpu_handles_free(worker, {a.name}_id))\n        return -EPROTO;")
    if call.needs_context:
        out.append("    error = vgpu_worker_enter(worker, header->context);")
    for a in call.arguments:
        if a.handle and a.role != "new":
            out.append(f"    if (error == CUDA_SUCCESS)\n        error = vgpu_handles_find(worker, "
                       f"VGPU_KIND_{a.type.upper()}, {a.name}_id, (void **)&call.{a.name});")
    out.append("    if (error == CUDA_SUCCESS)")
    if call.direct:
        arguments = ", ".join(driver_argument(a) for a in call.arguments)
        out.append(f"        error = vgpu_worker_driver(worker)->{call.name}({arguments});")
    else:
        out.append(f"        error = vgpu_replay_{call.name}(worker, &call);")
    for a in call.arguments:
        if a.role == "new":
            out.append(f"    if (error == CUDA_SUCCESS)\n        vgpu_handles_add(worker, "
                       f"VGPU_KIND_{a.type.upper()}, {a.name}_id, call.{a.name});")
        if a.role == "drop":
            # Gone even if the driver failed: the guest has given the id up and may use it again.
            out.append(f"    if (call.{a.name} != NULL)\n        vgpu_handles_remove(worker, {a.name}_id);")
    for i, a in enumerate([a for a in call.arguments if a.output]):
        out.append(f"    memcpy(&result->output[{i}], &call.{a.name}, {a.size});")
    for a in call.arguments:
        if a.reply:
            out.append(f"    result->payload_bytes = call.{a.name}_bytes;")
    out.append("    result->result = error;\n    return 0;\n}\n")
    return "\n".join(out)


def replay_source(calls):
    out = [BANNER, '#include "protocol/replay.h"\n', "#include <errno.h>\n#include <string.h>\n",
           '#include "protocol/calls.h"\n#include "worker/driver.h"\n#include "worker/handles.h"\n'
           '#include "worker/worker.h"\n']
    out += [replayer(c) for c in calls]
    out.append("typedef int replay_function(struct vgpu_worker *, const struct vgpu_call_header *, const uint8_t *,\n"
               "        struct vgpu_result *, uint8_t *);\n")
    out.append("static replay_function *const table[VGPU_CALL_MAX + 1] = {")
    out += [f"    [{c.id}] = replay_{c.name}," for c in calls]
    out.append("};\n")
    out.append("static const uint8_t wants_reply[VGPU_CALL_MAX + 1] = {")
    out += [f"    [{c.id}] = VGPU_CALL_WANTS_REPLY," for c in calls if c.sync]
    out.append("};\n")
    out.append("""int vgpu_replay(struct vgpu_worker *worker, const struct vgpu_call_header *header,
                const uint8_t *payload, struct vgpu_result *result, uint8_t *reply)
{
    memset(result, 0, sizeof(*result));
    if (header->call > VGPU_CALL_MAX || table[header->call] == NULL ||
        header->flags != wants_reply[header->call] || header->reply_slot >= VGPU_REPLY_SLOTS)
        return -EPROTO;
    return table[header->call](worker, header, payload, result, reply);
}
""")
    return "\n".join(out)


def main():
    directory, out = sys.argv[1:3]
    calls = read_calls(directory)
    files = {
        "calls.h": calls_header(calls, protocol_hash(directory, calls)),
        "calls.c": calls_source(calls),
        "send.h": send_header(calls),
        "send.c": send_source(calls),
        "replay.h": replay_header(calls),
        "replay.c": replay_source(calls),
    }
    for name, text in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as target:
            target.write(text)


main()
