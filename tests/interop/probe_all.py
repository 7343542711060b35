import sys, tempfile, collections, json
from pathlib import Path
import warnings
warnings.simplefilter("error")
from interop_cases import every_case
from interop_peers import *
import time
def chain(e):
    out=[]
    while e is not None:
        out.append(f"{type(e).__name__}: {e}"); e=e.__cause__ or e.__context__
    return " <- ".join(out)
t=time.time()
cases=every_case(); print(len(cases))
S=[]
for c in cases:
    d=Path(tempfile.mkdtemp())
    try: OURS.write(d,c)
    except Exception as e: print("OURS WRITE",c.name,chain(e)); continue
    try:
        mine=OURS.read(d)
        if "lossy" not in c.tags: check_same(mine,c.values)
    except Exception as e: print("OURS READ",c.name,chain(e)[:300])
    for p in PEERS.values():
        try: check_same(p.read(d),mine)
        except Exception as e: S.append((p.name,"reads ours",c.name,chain(e)[:400].replace("\n"," ")))
        q=Path(tempfile.mkdtemp())
        if p.name=="tensorstore" and named(c.data_type) in("r24","raw_bytes","struct","structured"): continue
        try: p.write(q,c)
        except Exception as e: S.append((p.name,"writes",c.name,chain(e)[:400].replace("\n"," "))); continue
        try: check_same(OURS.read(q),mine)
        except Exception as e: S.append((p.name,"we read",c.name,chain(e)[:400].replace("\n"," ")))
for s in sorted(S): print(s)
print(time.time()-t)
