internal import ArgumentParser

/// The shells' completion scripts: what ArgumentParser generates, and what Drover's command line
/// needs beyond that.
///
/// Bash splits words at `=` and `:`, so an `OLD=NEW` would be three arguments. None of the shells
/// completes the path behind that `=`, nor the command that `help` is asked about.
/// `CompletionTests` in `test_packaging.py` drives all three shells.
struct CompletionScript {
    let shell: CompletionShell
    /// The script as it was generated.
    let generated: String

    /// Takes the script for what its first line says.
    init(generated: String) {
        self.generated = generated
        shell = generated.hasPrefix("#!/bin/bash") ? .bash : generated.hasPrefix("#compdef") ? .zsh : .fish
    }

    /// The script that works. `commands` are those that `help` knows.
    func text(commands: [String]) -> String {
        let names = commands.joined(separator: " ")
        switch shell {
        case .zsh:
            return
                generated
                .replacing(":old=new:_files -/'", with: ":old=new:{compset -P \"*=\"; _files -/}'")
                .replacing("'*:subcommands:'", with: "':command:(\(names))'")
        case .bash:
            // A file that is sourced has no interpreter of its own.
            return
                generated
                .replacing("#!/bin/bash\n\n", with: "")
                .replacing("complete -o filenames -F _drover drover", with: Self.bash(names))
        default: return generated + "\n" + Self.fish(names)
        }
    }

    private static func bash(_ commands: String) -> String {
        """
        # Completes with words as Drover sees them: those that readline split at = and : are put together first.
        _drover_whole_words() {
            local rest="${COMP_LINE:0:COMP_POINT}" word
            local -a whole=()
            for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
                if [[ ${#whole[@]} -gt 0 && "${rest}" != [[:space:]]* && ( "${word}" = [=:]* || "${whole[-1]}" = *[=:] ) ]]; then
                    whole[-1]+="${word}"
                else
                    whole+=("${word}")
                fi
                rest="${rest#"${rest%%[![:space:]]*}"}"
                rest="${rest#"${word}"}"
            done
            local -i index=$((${#whole[@]} - 1))
            if [[ "${index}" -eq "${COMP_CWORD}" ]]; then
                _drover "${@}"
            else
                local current="${2}"
                [[ "${whole[-1]}" = "${COMP_WORDS[COMP_CWORD]}" ]] || current="${whole[-1]}"
                local -a COMP_WORDS=("${whole[@]}")
                local -i COMP_CWORD="${index}"
                _drover "${1}" "${current}" "${whole[-2]}"
                if [[ "${current}" = *=* && "${whole[-2]}" = --backing-map ]]; then
                    mapfile -t COMPREPLY < <(compgen -d -- "${current#*=}")
                elif [[ "${current}" = *[=:]* ]]; then
                    COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[=:]}"}"}")
                fi
            fi
            if [[ "${index}" -eq 2 && "${whole[1]}" = help ]]; then
                mapfile -t COMPREPLY < <(compgen -W '\(commands)' -- "${2}")
            fi
        }

        complete -o filenames -F _drover_whole_words drover
        """
    }

    private static func fish(_ commands: String) -> String {
        """
        # The directories that the word may become; of OLD=NEW, those that NEW may become.
        function __drover_complete_directories
            set -l token (commandline -ct)
            set -l new (string replace -r '^.*=' '' -- $token)
            set -l old (string replace -r '[^=]*$' '' -- $token)
            set -l directories $new*/
            printf %s\\n $old$directories
        end

        complete -c 'drover' -n '__drover_should_offer_completions_for_positional "drover help" -eq 1' -fa '\(commands)'
        """
    }
}
