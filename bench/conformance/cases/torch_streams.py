# SPDX-License-Identifier: MIT
"""Streams and events: order, overlap, timing, waiting."""
import conformance

torch = conformance.seed()
streams = [torch.cuda.Stream(priority=-(i % 2)) for i in range(4)]
start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
x = torch.randn(512, 512, device="cuda")
torch.cuda.synchronize()
start.record()
parts, done = [], []
for i, stream in enumerate(streams):
    with torch.cuda.stream(stream):
        stream.wait_event(start)
        parts.append(torch.linalg.matrix_power(x / 64, i + 2))
        event = torch.cuda.Event()
        event.record()
        done.append(event)
for event in done:
    torch.cuda.current_stream().wait_event(event)
total = sum(parts)
end.record()
end.synchronize()
conformance.require(end.query() and all(event.query() for event in done), "all events are complete")
conformance.require(0 < start.elapsed_time(end) < 60000, "the time between events is one")
conformance.require(torch.cuda.current_stream().query(), "the stream is idle")
conformance.save("total", total)
torch.cuda._sleep(50_000_000)
late = torch.cuda.Event()
late.record()
conformance.require(not late.query(), "work that sleeps is not complete")
late.synchronize()
conformance.require(late.query(), "it is complete after waiting")
