module agentvm.dev/examples/guests

go 1.24
