# SPDX-License-Identifier: MIT
# Completion of vgpu-admin for fish: the program itself knows its words, and asks the mediator for names.
function __vgpu_admin_words
    set -l program (commandline -opc)[1]
    set -l verb ""
    set -l socket ""
    for word in (commandline -opc)[2..-1]
        switch $word
            case '--socket=*'
                set socket (string replace -r '^[^=]*=' '' -- $word)
            case '-*'
            case '*'
                test -n "$verb"; or set verb $word
        end
    end
    set -l current (commandline -ct)
    if string match -q -- '--*=*' $current
        set -l option (string replace -r '=.*' '' -- $current)
        for value in ($program --complete "$verb" $option "$socket" 2>/dev/null)
            echo $option=$value
        end
    else
        $program --complete "$verb" 2>/dev/null
    end
end
complete -c vgpu-admin -f -a '(__vgpu_admin_words)'
