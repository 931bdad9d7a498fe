print("dev: nothing is computed here")
