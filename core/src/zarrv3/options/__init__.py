# declared      the options of a class: its constructor's signature
# urls          a store URL, taken apart            environment   `${NAME}` in options
# redaction     no secret in any text               settings      settings of the process, named stores
"""Options: what users say about a store or this process, and how it becomes values."""
