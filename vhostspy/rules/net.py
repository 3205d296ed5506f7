"""What only some sessions have: in-band notifications, network, crypto and gpu devices."""

from __future__ import annotations

from .gates import FRONT, ungated
from .rule import Breach, Case, Outcome, reply, request, rule

INBAND = "vhost-user, In-band notifications"
MTU = 1 << 3
LEAST_MTU, MOST_MTU = 68, 65535
#: bytes of keys that messages have room for
MOST_CIPHER_KEY, MOST_AUTH_KEY = 64, 512
MOST_SESSIONS = 4096


@rule("VU-IB-01", "error", "VRING_KICK only with INBAND_NOTIFICATIONS, and 0 in num", FRONT + "VRING_KICK",
      on=request("VRING_KICK"))  # fmt: skip
def in_band_kick(case: Case) -> Outcome:
    missing = ungated(case)
    if missing is not None:
        return missing
    num = case.fields["num"]
    return f"VRING_KICK: expected 0 in num, came {num}" if num else None


@rule("VU-IB-02", "warning", "in-band notifications ask for an acknowledgement where they can", INBAND,
      on=(request("VRING_KICK"), request("VRING_CALL", "VRING_ERR", channel="backend")), malformed=True)  # fmt: skip
def not_waited_for(case: Case) -> Outcome:
    agreed = case.before.protocol_agreed or 0
    if case.message.need_reply or not agreed >> 3 & 1 or not case.first("VU-IB-02", case.name):
        return None
    return f"{case.name}: expected NEED_REPLY as REPLY_ACK is agreed on, came without"


@rule("VU-NET-01", "warning", "an MTU is 68 to 65535, and for devices that have one", FRONT + "NET_SET_MTU",
      on=request("NET_SET_MTU"))  # fmt: skip
def mtu(case: Case) -> Outcome:
    value = case.fields["mtu"]
    if not LEAST_MTU <= value <= MOST_MTU:
        return f"NET_SET_MTU: expected {LEAST_MTU} to {MOST_MTU}, came {value}"
    agreed = case.before.virtio_agreed
    if not case.before.features_set or agreed is None or agreed & MTU or not case.first("VU-NET-01"):
        return None
    return "NET_SET_MTU: expected feature MTU (bit 3) to be agreed on, it is not"


@rule("VU-CR-02", "error", "a crypto session is made, of keys that have room", FRONT + "CREATE_CRYPTO_SESSION",
      on=(request("CREATE_CRYPTO_SESSION"), reply("CREATE_CRYPTO_SESSION")),
      notes="Keys of more than 64 and 512 bytes: CVE-2020-10724.")  # fmt: skip
def crypto_session(case: Case) -> Outcome:
    fields = case.fields
    if case.message.is_reply:
        made = fields.get("session_id", 0)
        made -= (made >= 1 << 63) << 64  # an old session has it unsigned
        if made < 0:
            return Breach(f"{case.name}: expected a session of 0 or above, came {made}: it was refused", who=None)
        sessions = case.memory.of("crypto sessions")
        if len(sessions) < MOST_SESSIONS:
            sessions[made] = case.message.no
        return None
    for member, most in (("cipher_key_length", MOST_CIPHER_KEY), ("auth_key_length", MOST_AUTH_KEY)):
        came = fields.get(member, 0)
        if came > most:
            return f"{case.name}: expected {member} of at most {most}, came {came}"
    return None


@rule("VU-CR-03", "warning", "a crypto session that is closed was made before", FRONT + "CLOSE_CRYPTO_SESSION",
      on=request("CLOSE_CRYPTO_SESSION"))  # fmt: skip
def closes_unknown(case: Case) -> Outcome:
    sessions = case.memory.of("crypto sessions")
    came = case.fields["session_id"]
    if sessions.pop(came, None) is not None or not case.sure or len(sessions) >= MOST_SESSIONS:
        return None
    return f"CLOSE_CRYPTO_SESSION: expected a session that was made before, came {came}"


@rule("VU-GPU-01", "warning", "GPU_SET_SOCKET is for gpu devices, once a start", FRONT + "GPU_SET_SOCKET",
      on=request("GPU_SET_SOCKET"), malformed=True, bends=("qemu",))  # fmt: skip
def gpu_socket(case: Case) -> Outcome:
    notes = case.memory.of("VU-GPU-01")
    earlier = notes.get("no")
    notes["no"] = case.message.no
    device = case.before.device
    if device not in (None, "gpu"):
        return f"GPU_SET_SOCKET: expected a gpu device, it is {device}"
    if earlier is None:
        return None
    return Breach(f"GPU_SET_SOCKET: expected once, came again after #{earlier}", evidence=(earlier,))


@rule("VU-GPU-02", "note", "GPU_SET_SOCKET needs no protocol feature: both ends have to know it", FRONT +
      "GPU_SET_SOCKET", on=request("GPU_SET_SOCKET"), malformed=True)  # fmt: skip
def gpu_ungated(case: Case) -> Outcome:
    if not case.first("VU-GPU-02"):
        return None
    return "GPU_SET_SOCKET: expected a feature to say that the back-end knows it, there is none in the protocol"
