#compdef rqvault
# Completion of rqvault for zsh. For one user, with ~/.zfunc in $fpath before compinit:
#   rqvault completion zsh > ~/.zfunc/_rqvault

_rqvault() {
	local -a found
	local word meaning files=''
	while IFS=$'\t' read -r word meaning; do
		if [[ $word == :files ]]; then
			files=yes
		else
			found+=("${word//:/\\:}${meaning:+:$meaning}")
		fi
	done < <("${words[1]/#\~/$HOME}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
	(( $#found )) && _describe rqvault found
	if [[ -n $files ]]; then
		compset -P '-*='
		_files
	fi
}

if [[ $funcstack[1] == _rqvault ]]; then
	_rqvault "$@"
else
	compdef _rqvault rqvault
fi
