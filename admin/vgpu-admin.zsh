#compdef vgpu-admin
# SPDX-License-Identifier: MIT
# Completion of vgpu-admin for zsh: the program itself knows its words, and asks the mediator for names.
_vgpu_admin()
{
    local verb="" socket="" word option
    local -a found
    for word in "${(@)words[2,CURRENT-1]}"; do
        case $word in
        --socket=*) socket=${word#*=} ;;
        [a-z]*) [[ -n $verb ]] || verb=$word ;;
        esac
    done
    if [[ $PREFIX == --*=* ]]; then
        option=${PREFIX%%=*}
        compset -P '*='
        if [[ $option == --socket ]]; then
            _files
        else
            found=(${(f)"$(${words[1]} --complete "$verb" "$option" "$socket" 2>/dev/null)"})
            compadd -a found
        fi
    else
        found=(${(f)"$(${words[1]} --complete "$verb" 2>/dev/null)"})
        compadd -S '' -- ${(M)found:#*=}
        compadd -- ${found:#*=}
    fi
}
_vgpu_admin "$@"
