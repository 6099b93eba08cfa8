"""The watched folder: `incoming/<accession>/...` with images and, if wanted, a `case.json`.

    scanner    what lies there and has stopped changing        (never opens a file)
    source     a file that was seen, opened without following links
    staging    a durable copy in our store, quarantine, `.done`
    memory     what was taken from a share where nothing can be moved
    manifest   `case.json`

The order that loses nothing, whenever the process dies: `Staging.accept`, then the row in the database, then
`Staging.move_to_done`. For a refused file: `Staging.quarantine`, the row, `Staging.move_to_done`. Each step may run
twice.
"""
