from indexing.cli import main

main()
