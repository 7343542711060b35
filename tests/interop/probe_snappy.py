import sys, tempfile
from interop_cases import every_case
from interop_peers import *
for c in every_case():
    if "snappy" in c.name:
        for p in PEERS.values():
            q=Path(tempfile.mkdtemp())
            try: p.write(q,c); print(p.name,"wrote",p.read(q).tobytes()==c.values.tobytes())
            except Exception as e: print(p.name,type(e),e); continue
            try: print(OURS.read(q).tobytes()==c.values.tobytes(), q, (q/"c/0/1/0").read_bytes()[:16].hex(), len((q/"c/0/1/0").read_bytes()))
            except Exception as e: print(p.name,type(e),e); continue
