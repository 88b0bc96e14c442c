# SPDX-License-Identifier: MIT
"""send.h and send.c: the guest's encoders."""
from generator.description import BANNER


def parameters(call):
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


def header(calls):
    lines = [BANNER,
             "/**\n"
             " * One sender per call; `current` is the id of the context to be current for it.\n"
             " * Asynchronous ones return once the record is in the ring;\n"
             " * synchronous ones wait for the reply and return its CUresult. Outputs are written\n"
             " * only with CUDA_SUCCESS, except reply payloads (logs), which are always written.\n"
             " */",
             "#ifndef VGPU_PROTOCOL_SEND_H\n#define VGPU_PROTOCOL_SEND_H\n",
             "#include <cuda.h>\n#include <stddef.h>\n#include <stdint.h>\n",
             "struct vgpu_channel;\n"]
    lines += [f"CUresult vgpu_send_{c.name}({parameters(c)});" for c in calls]
    return "\n".join(lines + ["\n#endif\n"])


def sender(call):
    out = [f"CUresult vgpu_send_{call.name}({parameters(call)})\n{{"]
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
    out.append(f"    CUresult error = vgpu_channel_call(channel, &header, {', '.join(parts)}, "
               f"&result, {', '.join(reply_parts)});")
    outputs = [a for a in call.arguments if a.output]
    if outputs:
        out.append("    if (error == CUDA_SUCCESS) {")
        out += [f"        memcpy({a.name}, &result.output[{i}], {a.size});"
                for i, a in enumerate(outputs)]
        out.append("    }")
    out.append("    return error;\n}\n")
    return "\n".join(out)


def source(calls):
    return "\n".join([BANNER, '#include "protocol/send.h"\n\n#include <string.h>\n',
                      '#include "guest/channel/channel.h"\n#include "protocol/calls.h"\n'] +
                     [sender(c) for c in calls])
