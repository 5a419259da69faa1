"""What `curl` sees of a real `understudy dev`."""

from __future__ import annotations

import socket
import time

import pytest


def test_call_send_attach_and_output(server):
    assert server.call("/Greeter/greet", "bob") == "hi bob"
    status, headers, body = server.ask("POST", "/Greeter/greet/send", "ann", idempotency_key="s1")
    assert (status, body["status"]) == (202, "Accepted")
    assert headers["x-restate-id"] == body["invocationId"]
    assert server.ask("GET", f"/restate/invocation/{body['invocationId']}/attach")[2] == "hi ann"
    status, headers, value = server.ask("GET", "/restate/invocation/Greeter/greet/s1/output")
    assert (status, value) == (200, "hi ann")
    assert "idempotency-expires" in headers
    again = server.ask("POST", "/Greeter/greet/send", "ann", idempotency_key="s1")[2]
    assert again == {"invocationId": body["invocationId"], "status": "PreviouslyAccepted"}


def test_objects_count_and_keys_are_decoded(server):
    assert server.call("/Counter/a%2Fb/add", 2) == 2
    assert server.call("/Counter/a%2Fb/add", 3) == 5
    assert server.call("/Counter/c/add", 1) == 1


def test_an_idempotent_call_runs_once(server):
    first = server.ask("POST", "/Counter/idem/add", 5, idempotency_key="k")
    second = server.ask("POST", "/Counter/idem/add", 99, idempotency_key="k")
    assert (first[2], second[2]) == (5, 5)
    assert first[1]["x-restate-id"] == second[1]["x-restate-id"]
    assert "idempotency-expires" not in first[1]
    assert "idempotency-expires" in second[1]


def test_a_delayed_send_waits(server):
    before = time.time()
    status, _, body = server.ask("POST", "/Counter/late/add/send?delay=500ms", 1)
    assert status == 202
    assert "executionTime" in body
    assert server.ask("GET", f"/restate/invocation/{body['invocationId']}/output")[0] == 470
    assert server.ask("GET", f"/restate/invocation/{body['invocationId']}/attach")[0] in (200, 404)
    assert time.time() - before >= 0.4


def test_terminal_failures_keep_their_code(server):
    status, headers, body = server.ask("POST", "/Greeter/fail", 418)
    assert (status, body["code"], body["source"]) == (418, 418, "invocation")
    assert headers["x-restate-error-source"] == "invocation"


def test_awakeables_are_completed_from_outside(server):
    sent = server.ask("POST", "/Greeter/wait_for/send", "w", idempotency_key="awk")[2]
    name = None
    deadline = time.monotonic() + 10
    while not name and time.monotonic() < deadline:
        name = server.ask("GET", "/Counter/w/kept")[2]
        name = None if name in (b"", None) else name
    assert server.ask("POST", f"/restate/awakeables/{name}/resolve", "done")[0] == 202
    assert server.ask("POST", f"/restate/a/{name}/reject", b"late", content_type="text/plain")[0] == 202
    assert server.ask("GET", f"/restate/attach/{sent['invocationId']}")[2] == "done"


def test_a_workflow_runs_once(server):
    status, _, sent = server.ask("POST", "/Flow/f1/run/send", "hello")
    assert status == 202
    assert server.ask("GET", "/restate/workflow/Flow/f1/output")[0] == 470
    assert server.ask("POST", "/Flow/f1/say", "world")[0] == 200
    assert server.ask("GET", "/restate/workflow/Flow/f1/attach")[2] == "hello world"
    status, headers, body = server.ask("POST", "/Flow/f1/run", "again")
    assert (status, body["source"], headers["x-restate-id"]) == (409, "invocation", sent["invocationId"])


BAD = [
    ("POST", "/Nope/greet", 1, 404),
    ("POST", "/Greeter/nope", 1, 404),
    ("POST", "/Counter/add", 1, 400),
    ("POST", "/Greeter/greet/extra", 1, 400),
    ("POST", "/Counter/%ff/add", 1, 400),
    ("POST", "/Greeter/greet?delay=1s", 1, 400),
    ("POST", "/Greeter/greet/send?delay=60", 1, 400),
    ("PUT", "/Greeter/greet", 1, 405),
    ("GET", "/", None, 400),
    ("GET", "/restate/invocation/inv_bad/output", None, 400),
    ("GET", "/restate/zzz", None, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD)
def test_bad_requests_get_a_clear_error(server, method, path, body, status):
    found, headers, value = server.ask(method, path, body)
    assert (found, value["code"], value["source"]) == (status, status, "ingress")
    assert headers["x-restate-error-source"] == "ingress"
    assert len(value["message"]) > 10


def test_malformed_json_is_a_terminal_failure(server):
    status, _, body = server.ask("POST", "/Greeter/greet", b"{")
    assert (status, body["source"]) == (500, "invocation")


def test_a_body_announced_too_large_is_refused_unread(server):
    with socket.create_connection(("127.0.0.1", server.ingress_port), timeout=10) as link:
        link.sendall(b"POST /Greeter/greet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        got = b""
        while part := link.recv(65536):
            got += part
    assert got.startswith(b"HTTP/1.1 413 ")


def test_another_host_name_is_refused(server):
    status, _, body = server.ask("GET", "/restate/health", host="evil.example")
    assert (status, body["code"]) == (421, 421)
    assert server.ask("GET", "/restate/health", host="localhost:1")[0] == 200
    assert server.ask("GET", "/health", admin=True, host="evil.example")[0] == 421


def test_cors_is_off(server):
    status, headers, _ = server.ask("OPTIONS", "/Greeter/greet", origin="http://ui.example")
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]


def test_admin(server):
    assert server.ask("GET", "/health", admin=True)[0] == 200
    version = server.ask("GET", "/v3/version", admin=True)[2]
    assert version["ingress_endpoint"] == f"http://127.0.0.1:{server.ingress_port}/"
    sent = server.ask("POST", "/Greeter/doze/send", 3_600_000)[2]["invocationId"]
    shown = server.ask("GET", f"/invocations/{sent}", admin=True)[2]
    assert (shown["id"], shown["target_handler_name"]) == (sent, "doze")
    journal = server.ask("GET", f"/invocations/{sent}/journal", admin=True)[2]
    assert (journal["id"], journal["entries"][0]["type"]) == (sent, 0x0400)
    assert server.ask("PATCH", f"/invocations/{sent}/pause", admin=True)[0] == 202
    assert server.ask("GET", f"/invocations/{sent}", admin=True)[2]["waiting_on"] == [{"kind": "resume"}]
    assert server.ask("PATCH", f"/invocations/{sent}/restart-as-new", admin=True)[0] == 409
    assert server.ask("PATCH", f"/invocations/{sent}/resume", admin=True)[0] == 200
    assert server.ask("GET", "/deadlocks", admin=True)[::2] == (200, {"deadlocks": []})
    assert server.ask("PATCH", f"/invocations/{sent}/cancel", admin=True)[0] in (200, 202)
    other = server.ask("POST", "/Greeter/doze/send", 3_600_000, idempotency_key="kill me")[2]["invocationId"]
    assert server.ask("PATCH", f"/invocations/{other}/kill", admin=True)[0] == 200
    assert server.ask("PATCH", f"/invocations/{other}/kill", admin=True)[0] == 409
    status, _, body = server.ask("GET", f"/restate/invocation/{other}/output")
    assert (status, body["source"]) == (409, "invocation")
    assert server.ask("PATCH", f"/invocations/{other}/purge", admin=True)[0] == 200
    assert server.ask("PATCH", f"/invocations/{other}/kill", admin=True)[0] == 404
    assert server.ask("PATCH", "/invocations/bad/kill", admin=True)[0] == 400
    assert server.ask("GET", f"/invocations/{sent}/kill", admin=True)[0] == 405
    assert server.ask("GET", "/nothing", admin=True)[0] == 404


def test_keep_alive_and_pipelining_on_a_real_socket(server):
    head = b"POST /Greeter/greet HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    one = head + b'Content-Length: 3\r\n\r\n"a"'
    with socket.create_connection(("127.0.0.1", server.ingress_port), timeout=10) as link:
        link.sendall(one * 10)
        got = b""
        while got.count(b'"hi a"') < 10:
            part = link.recv(65536)
            assert part
            got += part
    assert got.count(b"HTTP/1.1 200 OK") == 10


def test_no_payload_is_logged(server):
    server.ask("POST", "/Greeter/greet", "a-secret-word")
    assert not [line for line in server.lines if "a-secret-word" in line]
