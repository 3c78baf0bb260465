#!/usr/bin/python3
"""Makes an older header out of today's: structs end earlier, functions that were added later are gone.

older_header.py outboard.h outboard-older.h
"""
import re
import sys


def cut(text, pattern, what):
    shorter, n = re.subn(pattern, "", text, count=1, flags=re.S | re.M)
    if n != 1:
        sys.exit(f"older_header: {what} is not where it was")
    return shorter


def main():
    text = open(sys.argv[1]).read()
    text = cut(text, r"^\tuint32_t flags;[^\n]*enum ob_prop_flags \*/\n", "ob_prop.flags")
    text = cut(text, r"^\t/\*(?:(?!\*/).)*\*/\n\tvoid \(\*revoked\).*?^\tvoid \(\*changed\)\([^;]*;\n",
               "ob_class.revoked")
    text = cut(text, r"^static inline int ob_dma_map_sg\(.*?^}\n", "ob_dma_map_sg()")
    text = cut(text, r"^\tint \(\*get_len\).*?(?=^};\n)", "the end of ob_api, from get_len")
    text = cut(text, r"^static inline int ob_add_config\(.*?^}\n", "ob_add_config()")
    text = cut(text, r"^/\* For fields whose length is not known. \*/\n.*?^}\n", "ob_get_len()")
    open(sys.argv[2], "w").write(text)


main()
