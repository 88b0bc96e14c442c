# SPDX-License-Identifier: MIT
# Completion of vgpu-admin for bash: the program itself knows its words, and asks the mediator for names.
_vgpu_admin()
{
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} verb="" option="" socket="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        [a-z]*) [ "${COMP_WORDS[i - 1]}" = "=" ] || [ -n "$verb" ] || verb=${COMP_WORDS[i]} ;;
        --socket) [ $((i + 2)) -ge "$COMP_CWORD" ] || socket=${COMP_WORDS[i + 2]} ;;
        esac
    done
    # Readline splits --name=value at the =.
    if [ "$current" = "=" ]; then
        option=${COMP_WORDS[COMP_CWORD - 1]} current=""
    elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = "=" ]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [ "$option" = --socket ]; then
        COMPREPLY=($(compgen -f -- "$current"))
    elif [ -n "$option" ]; then
        COMPREPLY=($(compgen -W "$("$program" --complete "$verb" "$option" "$socket" 2>/dev/null)" \
            -- "$current"))
    else
        COMPREPLY=($(compgen -W "$("$program" --complete "$verb" 2>/dev/null)" -- "$current"))
        [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace
    fi
}
complete -F _vgpu_admin vgpu-admin
