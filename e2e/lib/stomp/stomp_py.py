"""STOMP by stomp.py for a test that speaks JSON: calls on standard input, events on standard output, one a line."""

import base64
import json
import sys
import threading

import stomp

CONNECTIONS = {
    "1.0": stomp.StompConnection10,
    "1.1": stomp.StompConnection11,
    "1.2": stomp.StompConnection12,
}

writing = threading.Lock()


class Listener(stomp.ConnectionListener):
    """Tells what a connection hears."""

    def __init__(self, session):
        self.session = session

    def tell(self, event, frame=None):
        body = (frame.body if frame else None) or b""
        body = body.encode() if isinstance(body, str) else body
        line = json.dumps({
            "session": self.session,
            "event": event,
            "headers": frame.headers if frame else {},
            "body": base64.b64encode(body).decode(),
        })
        with writing:
            print(line, flush=True)

    def on_connected(self, frame):
        self.tell("on_connected", frame)

    def on_message(self, frame):
        self.tell("on_message", frame)

    def on_receipt(self, frame):
        self.tell("on_receipt", frame)

    def on_error(self, frame):
        self.tell("on_error", frame)

    def on_disconnected(self):
        self.tell("on_disconnected")

    def on_heartbeat(self):
        self.tell("on_heartbeat")


class Session:
    """One connection, and the calls that a test may make."""

    def __init__(self, call):
        self.version = call["version"]
        options = {"reconnect_attempts_max": 1, "auto_decode": False}
        if self.version != "1.0":
            options["heartbeats"] = tuple(call.get("heartBeat", (0, 0)))
        self.connection = CONNECTIONS[self.version]([(call["host"], call["port"])], **options)
        self.connection.set_listener("test", Listener(call["session"]))
        self.connection.connect(call["login"], call["passcode"])

    def send(self, call):
        body = base64.b64decode(call["body"])
        self.connection.send(call["destination"], body, headers=call["headers"])

    def subscribe(self, call):
        headers = call["headers"]
        self.connection.subscribe(
            call["destination"], id=headers.pop("id"), ack=headers.pop("ack", "auto"), headers=headers)

    def unsubscribe(self, call):
        self.connection.unsubscribe(id=call["id"], headers=call["headers"])

    def ack(self, call):
        self.connection.ack(*self.delivery(call["message"]), **call["headers"])

    def nack(self, call):
        self.connection.nack(*self.delivery(call["message"]), **call["headers"])

    def delivery(self, message):
        """What names a delivery in this version."""
        if self.version == "1.0":
            return [message["message-id"]]
        if self.version == "1.1":
            return [message["message-id"], message["subscription"]]
        return [message["ack"]]

    def begin(self, call):
        self.connection.begin(call["id"], headers=call["headers"])

    def commit(self, call):
        self.connection.commit(call["id"], headers=call["headers"])

    def abort(self, call):
        self.connection.abort(call["id"], headers=call["headers"])

    def disconnect(self, call):
        self.connection.disconnect(call["receipt"])

    def drop(self, _):
        self.connection.transport.disconnect_socket()


def main():
    sessions = {}
    for line in sys.stdin:
        call = json.loads(line)
        if call["op"] == "open":
            sessions[call["session"]] = Session(call)
        else:
            getattr(sessions[call["session"]], call["op"])(call)


main()
