# SPDX-License-Identifier: MIT
# Completion of vgpu-admin for bash: the program itself knows its words.
_vgpu_admin()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb="" word option
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        [a-z]*) [ -n "$verb" ] || verb=$word ;;
        esac
    done
    # Readline splits --name=value at the =.
    [ "$current" = "=" ] && option=$previous && current=""
    [ "$previous" = "=" ] && option=${COMP_WORDS[COMP_CWORD - 2]}
    case $option in
    --output) COMPREPLY=($(compgen -W "table json csv" -- "$current")) ;;
    --priority) COMPREPLY=($(compgen -W "low medium high" -- "$current")) ;;
    --socket) COMPREPLY=($(compgen -f -- "$current")) ;;
    --vm-name)
        COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" list-vms --output=csv 2>/dev/null |
            sed '1d; s/,.*//')" -- "$current")) ;;
    --*) COMPREPLY=() ;;
    *)
        COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --complete "$verb" 2>/dev/null)" -- "$current"))
        [ "${COMPREPLY[0]: -1}" = "=" ] && compopt -o nospace
        ;;
    esac
}
complete -F _vgpu_admin vgpu-admin
