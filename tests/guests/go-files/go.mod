module agentvm.dev/tests/go-files

go 1.22
