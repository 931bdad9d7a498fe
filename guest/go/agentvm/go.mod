module agentvm.example/agentvm

go 1.24
