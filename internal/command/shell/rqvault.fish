# Completion of rqvault for fish. For one user:
#   rqvault completion fish > ~/.config/fish/completions/rqvault.fish

function __rqvault_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
        if string match -q -- ':files*' $line
            __fish_complete_path (string replace -r -- '^-[^=]*=' '' "$current")
        else
            echo $line
        end
    end
end

complete -c rqvault -f -k -a '(__rqvault_complete)'
