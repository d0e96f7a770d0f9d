# shellcheck shell=sh disable=SC2034
# Sourced by scaling.sh and allreduce.sh, which start jobs of `lockstep bench` under mpirun: what both need.
lockstep=${LOCKSTEP:-$(dirname "$0")/../build/lockstep}
hosts=""
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# take_options "NAME ..." WORD ...: gives the variable NAME the word behind each --NAME, as far as `--` or the end; `taken` is how
# many words to shift away.  A caller's variables have their defaults before.
take_options() {
    names=$1
    taken=0
    shift
    while [ $# -gt 0 ]; do
        if [ "$1" = -- ]; then
            taken=$((taken + 1))
            return
        fi
        case " $names " in
        *" ${1#--} "*) [ "$1" != "${1#--}" ] || refuse "unknown word '$1'" ;;
        *) refuse "unknown option '$1'" ;;
        esac
        [ $# -ge 2 ] || refuse "a value is missing behind '$1'"
        eval "${1#--}=\$2"
        taken=$((taken + 2))
        shift 2
    done
}

# refuse WHAT: says what is wrong and which options there are.
refuse() {
    echo "$(basename "$0"): $1; options: $(for name in $names; do printf -- '--%s VALUE, ' "$name"; done)-- OPTION ... of lockstep bench" >&2
    exit 2
}

# How many cores this process may use, the hardware threads of a core counted once: mpirun's PE=n counts so too.
count_cores() {
    lscpu -p=CPU,CORE,SOCKET | awk -F, -v allowed="$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)" '
        BEGIN {
            n = split(allowed, ranges, ",")
            for (i = 1; i <= n; i++) {
                m = split(ranges[i], ends, "-")
                for (cpu = ends[1] + 0; cpu <= ends[m] + 0; cpu++) may[cpu] = 1
            }
        }
        !/^#/ && ($1 + 0) in may && !(($2, $3) in seen) { seen[$2, $3] = 1; cores++ }
        END { print cores + 0 }'
}
