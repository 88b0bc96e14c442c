# SPDX-License-Identifier: MIT
"""entry.c: the guest's functions that check, send, and note what came of it."""
from generator.description import BANNER

FOLLOWED = ("module", "event", "stream")  # the call works in the context of such an object
CONTEXTLESS = ("library", "kernel")  # found without a context; then the current one is needed

RETURN = "    if (error)\n        return error;"
INCLUDES = ['#include "guest/process/caller.h"', '#include "guest/channel/channel.h"', '#include "guest/code/code.h"',
            '#include "guest/memory/copy.h"', '#include "guest/process/objects.h"', '#include "guest/process/process.h"',
            '#include "guest/stream/stream.h"', '#include "protocol/send.h"\n']


def parameter(a):
    if a.type == "string":
        return f"const char *{a.name}"
    return f"{a.api} *{a.name}" if a.output else f"{a.api} {a.name}"


def parameters(arguments):
    return ", ".join(parameter(a) for a in arguments)


def sent(a):
    if a.output:
        return f"&{a.name}_value"
    if a.type == "stream" and a.role == "in":
        return f"{a.name}_found->object.id"
    return f"{a.name}_object->id" if a.handle else a.name


def find(a):
    # Programs may pass a kernel for a function.
    kind = "LAUNCHABLE" if a.type == "function" else a.type.upper()
    out = [f"    struct vgpu_object *{a.name}_object =\n        vgpu_object_find("
           f"&vgpu_process()->objects, {a.name}, VGPU_KIND_{kind});",
           f"    if ({a.name}_object == NULL)\n        return CUDA_ERROR_INVALID_HANDLE;"]
    if a.type in FOLLOWED:
        out.append(f"    vgpu_caller_follow(&caller, {a.name}_object);")
    return out


def enter(call):
    """The call's context and its handle, in the order in which they are missed."""
    handle = next((a for a in call.arguments if a.handle), None)
    begin = "    CUresult error = vgpu_caller_{}(&caller);\n" + RETURN
    if handle and handle.type in CONTEXTLESS:
        out = [begin.format("begin")] + find(handle)
        if call.needs_context:
            out.append("    error = vgpu_caller_enter(&caller);\n" + RETURN)
        return out
    out = [begin.format("enter" if call.needs_context else "begin")]
    return out + (find(handle) if handle else [])


def value_checks(call):
    wrong = []
    outputs = [a for a in call.arguments if a.output]
    if call.entry == "entry-variable":
        wrong.append("(" + " && ".join(f"{a.name} == NULL" for a in outputs) + ")")
    for a in call.arguments:
        required = a.type == "string" or (a.output and call.entry != "entry-variable" and
                                          not a.optional)
        if required:
            wrong.append(f"{a.name} == NULL")
        elif a.limit:
            operator = a.limit.replace("<=", "> ") if a.limit != ">0" else "<= 0"
            wrong.append(f"{a.name} {operator}")
    out = []
    if wrong:
        out.append(f"    if ({' || '.join(wrong)})\n        return CUDA_ERROR_INVALID_VALUE;")
    # A kernel stands for its functions in all contexts; the host is told of functions only.
    out += [f"    if ({a.name}_object->tag == VGPU_KIND_KERNEL)\n        return CUDA_SUCCESS;"
            for a in call.arguments if a.type == "function"]
    return out


def extent_checks(call):
    extents = [(a, a.extent) for a in call.arguments if a.extent]
    counts = []
    for _, extent in extents:
        counts += [f"{name} == 0" for name in extent.counts if f"{name} == 0" not in counts]
    out = [f"    if ({' || '.join(counts)})\n        return CUDA_SUCCESS;"] if counts else []
    for a, extent in extents:
        fields = f".start = {a.name}, .element = {extent.element}, .width = {extent.width}, "
        fields += f".rows = {extent.rows}, .pitch = {extent.pitch}" if extent.rows else ".rows = 1"
        out.append("    error = vgpu_copy_check_extent(\n"
                   f"        &(struct vgpu_extent){{{fields}}}, &known);\n" + RETURN)
    return out


def send(call):
    arguments = ["caller.channel", "caller.context"] + [sent(a) for a in call.arguments]
    return f"vgpu_send_{call.name}({', '.join(arguments)})"


def stream_function(call, name):
    """Works in a stream: asynchronous, and asks if only the driver can judge an address."""
    stream = call.arguments[-1].name
    return "\n".join(
        [f"CUresult {name}({parameters(call.arguments)})\n{{",
         f"    struct vgpu_caller caller;\n    struct vgpu_stream *{stream}_found;",
         "    bool known = true;",
         f"    CUresult error = vgpu_caller_enter_stream(&caller, {stream}, &{stream}_found);",
         RETURN] + extent_checks(call) + value_checks(call) +
        [f"    error = {send(call)};",
         f"    if (error == CUDA_SUCCESS)\n        vgpu_stream_submitted({stream}_found);",
         f"    return error || known ? error : vgpu_stream_judgement(&caller, {stream}_found);\n}}\n"])


def forward(name, target, arguments, values):
    return (f"CUresult {name}({parameters(arguments)})\n{{\n"
            f"    return {target}({', '.join(values)});\n}}\n")


def stream_family(call, name):
    """The function, its twin for the thread's own stream, and the two without a stream."""
    stream = call.arguments[-1].name
    values = [a.name for a in call.arguments[:-1]]
    plain = call.name.removesuffix("Async") + "_v2"
    return [stream_function(call, name),
            forward(name + "_ptsz", name, call.arguments, values + [f"vgpu_per_thread({stream})"]),
            forward(plain, name, call.arguments[:-1], values + ["CU_STREAM_LEGACY"]),
            forward(plain + "_ptds", name, call.arguments[:-1], values + ["CU_STREAM_PER_THREAD"])]


def drop(call, handle):
    """The object goes with an asynchronous call once that is posted, else in any case."""
    put = f"vgpu_object_put(&vgpu_process()->objects, {handle.name}_object);"
    if not call.sync:
        return [f"    error = {send(call)};", f"    if (error == CUDA_SUCCESS)\n        {put}",
                "    return error;\n}\n"]
    return [f"    error = {send(call)};", "    vgpu_channel_flush_console(caller.channel);",
            f"    {put}", "    return vgpu_process_note(vgpu_process(), error);\n}\n"]


def outcome(call):
    if not call.sync:
        return [f"    return {send(call)};\n}}\n"]
    outputs = [a for a in call.arguments if a.output]
    noted = f"vgpu_process_note(\n        vgpu_process(), {send(call)})"
    if not outputs:
        return [f"    return {noted};\n}}\n"]
    out = [f"    error = {noted};"]
    if call.entry == "entry-variable":
        owner = next(a.name for a in call.arguments if a.handle)
        address, size = (a.name for a in outputs)
        out.append(f"    if (error == CUDA_SUCCESS)\n        error = vgpu_variable_keep("
                   f"&caller, {owner}_object, {address}_value, {size}_value);")
    out.append(RETURN)
    for a in outputs:
        may_miss = a.optional or call.entry == "entry-variable"
        out.append((f"    if ({a.name})\n        " if may_miss else "    ") +
                   f"*{a.name} = {a.name}_value;")
    return out + ["    return CUDA_SUCCESS;\n}\n"]


def function(call, name):
    out = [f"CUresult {name}({parameters(call.arguments)})\n{{", "    struct vgpu_caller caller;"]
    out += [f"    {a.wire} {a.name}_value = 0;" for a in call.arguments if a.output]
    out += enter(call) + value_checks(call)
    dropped = next((a for a in call.arguments if a.role == "drop"), None)
    return "\n".join(out + (drop(call, dropped) if dropped else outcome(call)))


def entry(call):
    name = call.name if not {"v2", "v1-v2"} & set(call.words) else call.name + "_v2"
    out = stream_family(call, name) if call.entry == "entry-stream" else [function(call, name)]
    if "v1-v2" in call.words:
        out.append(f'extern __typeof__({name}) {call.name} __attribute__((alias("{name}")));\n')
    return out


def source(calls):
    out = [BANNER, '#include "interop/per_thread.h"\n'] + INCLUDES
    for call in calls:
        if call.entry:
            out += entry(call)
    return "\n".join(out)
