#!/bin/sh
# Stands in for ORCA on diatomic molecules: N2 is a spring, O2 fails, F2 kills the calling process,
# Cl2 flies apart. Reads ORCA's input, writes what ASE reads.
case "$(awk '/^\*xyz/ {getline; print $1; exit}' "$1")" in
    O) echo "SCF NOT CONVERGED"; exit 1 ;;
    F) kill -9 $PPID; exit 1 ;;
esac
awk '
/^\*xyz/ { inside = 1; next }
/^\*/ { inside = 0 }
inside { n++; name[n] = $1; for (k = 1; k <= 3; k++) x[n, k] = $(k + 1) }
END {
    for (k = 1; k <= 3; k++) { d[k] = (x[2, k] - x[1, k]) / 0.529177; square += d[k] ^ 2 }
    r = sqrt(square)
    energy = name[1] == "N" ? 0.5 * (r - 2.1) ^ 2 : 1 / r
    slope = name[1] == "N" ? (r - 2.1) : -1 / r ^ 2
    print "Number of atoms                         .... 2"
    print "CARTESIAN COORDINATES (ANGSTROEM)"
    print "---------------------------------"
    for (i = 1; i <= 2; i++) print name[i], x[i, 1], x[i, 2], x[i, 3]
    print ""
    printf "FINAL SINGLE POINT ENERGY %.10f\n", energy
    print "ORCA TERMINATED NORMALLY"
    print "# The current gradient in Eh/bohr" > "orca.engrad"
    print "#" > "orca.engrad"
    for (k = 1; k <= 3; k++) printf "%.10f\n", -slope * d[k] / r > "orca.engrad"
    for (k = 1; k <= 3; k++) printf "%.10f\n", slope * d[k] / r > "orca.engrad"
    print "# The atomic numbers and current coordinates in Bohr" > "orca.engrad"
}' "$1"
