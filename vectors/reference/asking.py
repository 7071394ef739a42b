"""Jobs that ask something of their members' data and machines: what stands at the end of their bytes then."""

from encoding import sha256

import contract

# What a job file says, and what it means: the age of a data key in days, and what a machine must have.
CASES = [
    ({"data_access": {"encryption": {"key_rotation": "30days"}}}, {"key_rotation_days": 30}),
    ({"training_job": {"compute": {"shape": "any", "memory": "128GB"}}}, {"memory_bytes": 128 * 10**9}),
    ({"training_job": {"security": {"enclave": "enabled", "encryption": "AES-256"}}}, {"genuine_hardware": 1}),
    (
        {
            "training_job": {
                "compute": {"memory": "512MiB", "storage": "1TB"},
                "security": {"enclave": "enabled", "attestation": "required"},
                "resources": {"gpu": "disabled", "network": "25Gbps"},
            },
            "data_access": {
                "encryption": {"algorithm": "ChaCha20-Poly1305", "key_rotation_days": 7},
                "access_control": {"authentication": "required"},
                "monitoring": {"logging": "enabled", "alerts": "configured"},
            },
        },
        {
            "key_rotation_days": 7,
            "memory_bytes": 512 * 2**20,
            "storage_bytes": 10**12,
            "network_bits_per_second": 25 * 10**9,
            "genuine_hardware": 1,
            "metrics": 1,
        },
    ),
    ({"training_job": {"security": {"attestation": "required"}}, "data_access": {"monitoring": {"logging": "enabled"}}}, {}),
]


def file():
    job = contract.JOB
    asked = job["aggregation"]
    numbers = contract.thresholds(len(job["members"]), asked["colluders"], asked["minimum"])
    cases = []
    for tables, asks in CASES:
        content = contract.job_bytes(job, numbers, asks)
        cases.append({"tables": tables, "asks": asks, "job_bytes": content.hex(), "job_hash": sha256(content).hex()})
    return cases
