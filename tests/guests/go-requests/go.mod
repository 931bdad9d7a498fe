module agentvm.example/tests/go-requests

go 1.24

require agentvm.example/agentvm v0.0.0

replace agentvm.example/agentvm => ../../../guest/go/agentvm
