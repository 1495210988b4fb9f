# Completion of rqvault for bash. For one user:
#   rqvault completion bash > ~/.local/share/bash-completion/completions/rqvault

_rqvault() {
	# Bash cuts words at = and : too. Here they are put together again.
	local words=() glue='' i word
	for ((i = 1; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ ${#words[@]} -gt 0 && ( -n $glue || $word == [=:]* ) ]]; then
			words[${#words[@]} - 1]+=$word
		else
			words+=("$word")
		fi
		glue=''
		[[ $word != [=:]* ]] || glue=yes
	done
	local current=${words[${#words[@]} - 1]} line
	local before=${current%"${current##*[=:]}"}
	COMPREPLY=()
	while IFS= read -r line; do
		line=${line%%$'\t'*}
		if [[ $line == :files ]]; then
			compopt -o filenames 2>/dev/null
			while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${current##*[=:]}")
		else
			COMPREPLY+=("${line#"$before"}")
		fi
	done < <("${COMP_WORDS[0]/#\~/$HOME}" __complete -- "${words[@]}" 2>/dev/null)
}

complete -F _rqvault rqvault
