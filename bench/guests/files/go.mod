module agentvm.dev/bench/files

go 1.24
