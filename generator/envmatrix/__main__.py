from envmatrix.cli import main

main()
